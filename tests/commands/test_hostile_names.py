"""Folders whose names mean something to the shell or to Hydra: they can be typed, and every printed command works as it is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostile_names import NAMES
from lightdiff.utils.quoting import setting
from runs import ROOT, TINY, tiny, train
from waiting import PATIENCE

Command = Callable[..., CompletedProcess[str]]
SHORT = (*TINY, "callbacks=no_samples", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "version_0"
    train(tiny("callbacks=no_samples", "trainer.max_epochs=1"), folder)
    return folder


@pytest.mark.parametrize("name", [name for name in NAMES if name != "~"])
def test_it_can_be_typed_and_what_is_printed_can_be_typed(
    name: str, finished: Path, command: Command, tmp_path: Path
) -> None:
    """The shell has taken its own quotes away; Hydra's are not needed."""
    folder = shutil.copytree(finished, tmp_path / "work" / name / "version_0")
    done = command("train.py", f"resume={name}/version_0", folder=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    [printed] = re.findall(r"train on with: python train\.py (.*) trainer\.max_epochs=2$", done.stdout, re.MULTILINE)
    assert printed == setting("resume", folder)
    asked = subprocess.run(["bash", "-c", f"printf %s {printed}"], capture_output=True, check=True, text=True)
    again = command("train.py", asked.stdout, folder=tmp_path / "work")
    assert again.returncode == 0 and "this run is finished" in again.stdout, again.stderr


@pytest.fixture
def bash(tmp_path: Path) -> Callable[[str], CompletedProcess[str]]:
    """Runs a line in a working directory in which `python train.py` works."""
    for script in ("train.py", "sample.py"):
        (tmp_path / script).symlink_to(ROOT / script)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path / "home")}

    def run(line: str) -> CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.mark.slow
def test_the_commands_that_a_run_prints_work_in_bash(bash: Callable[[str], CompletedProcess[str]]) -> None:
    """All names at once: each folder lies in the one before. Hydra would fill in ${seed}, which is refused."""
    log_dir = "/".join(name for name in NAMES if "${" not in name)
    words = shlex.join([*SHORT, "trainer.enable_model_summary=true"])
    done = bash(f"python train.py {words} {setting('log_dir', log_dir)}")
    sampling, tensorboard, going_on = re.findall(
        r"^(?:next:)? +((?:python|tensorboard) .*)$", done.stdout, re.MULTILINE
    )
    assert "resuming at epoch 1, step 7" in bash(going_on).stdout
    assert "4 images: " in bash(f"{sampling} num_samples=4 sampler.num_steps=2 save=grid").stdout
    logged = bash(
        tensorboard.replace("tensorboard", f"{shlex.quote(sys.executable)} -c 'import sys; print(sys.argv[2])'")
    )
    assert logged.stdout.rstrip("\n") == log_dir
