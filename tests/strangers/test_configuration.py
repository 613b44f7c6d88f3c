"""A run folder of a stranger: names in its config.yaml are called only where the user has typed them."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from hostile import NAMES, asking, planted, refused
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.run_config import read_config

Command = Callable[..., CompletedProcess[str]]
PLACES = ("callbacks.mine", "model", "optimizer", "dataset.source", "lr_scheduler", "trainer.plugins")


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize("where", PLACES)
def test_names_in_a_run_folders_configuration_are_not_called(
    where: str, name: str, run: Path, marker: Path, command: Command
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    planted(config, where, asking(name, marker))
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    wanted = f"{where}._target_={name}: not lightdiff's own; if it is yours, type "
    refused(command("train.py", f"resume={run}", "trainer.max_epochs=2"), wanted + f"{where}._target_={name} beside")
    refused(command("train.py", "--job", str(run)), wanted + f"--job {run} {name}")
    assert not marker.exists()


@pytest.mark.parametrize(
    "typed", ["callbacks.mine._target_=os.system", "callbacks.mine={{_target_:os.system,command:'touch {}'}}"]
)
def test_it_would_run_where_the_user_typed_the_name(typed: str, run: Path, marker: Path, command: Command) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["callbacks"]["mine"] = asking("os.system", marker)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    command("train.py", f"resume={run}", "trainer.max_epochs=2", typed.format(marker))
    assert marker.exists()
    marker.unlink()
    command("train.py", "--job", str(run), "os.system")
    assert marker.exists()


BOMBS = {
    "lists": "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in pairwise("abcdefghij")),
    "merged": "a: &a {x: 1}\n"
    + "".join(f"{b}: &{b} {{<<: [{', '.join(['*' + a] * 9)}]}}\n" for a, b in pairwise("abcdefghij")),
    "within itself": "a: &a [*a]\n",
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_aliases_that_grow_without_bound_are_refused_at_once(name: str, run: Path, command: Command) -> None:
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + BOMBS[name])
    start = time.process_time()
    for arguments in ([f"resume={run}", "trainer.max_epochs=2"], ["--job", str(run)]):
        done = command("train.py", *arguments)
        assert done.returncode == 2
        assert "config.yaml: not a configuration (without aliases it would have more than" in done.stderr
    # of this process alone, which other processes do not lengthen
    assert time.process_time() - start < 10


def test_python_objects_in_yaml_are_not_made(run: Path, marker: Path, command: Command) -> None:
    text = (run / "config.yaml").read_text() + f"evil: !!python/object/apply:os.system [\"touch '{marker}'\"]\n"
    (run / "config.yaml").write_text(text)
    for arguments in ([f"resume={run}", "trainer.max_epochs=2"], ["--job", str(run)]):
        refused(command("train.py", *arguments), "config.yaml: not a configuration")
    assert not marker.exists()


def test_a_configuration_of_megabytes_is_not_parsed(tmp_path: Path) -> None:
    """Parsing this would take two minutes."""
    (tmp_path / "config.yaml").write_text("".join(f"key{i}: {i}\n" for i in range(300_000)))
    with pytest.raises(ConfigError, match=r"config\.yaml: not a configuration \(it has more than 500000 characters\)"):
        read_config(tmp_path)


def test_a_name_out_of_a_file_moves_no_cursor(run: Path, command: Command) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["schedule"]["_target_"] = "lightdiff.core.\x1b[2J\x1b]0;title\x07"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    done = command("train.py", f"resume={run}", "trainer.max_epochs=2")
    refused(done, "_target_=lightdiff.core.?[2J?]0;title?")
    assert done.stderr.strip().isprintable()
