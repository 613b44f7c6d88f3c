"""Groups that hold no settings, and an odd result.json: one line and code 2, or the command does its work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from garbled import copied, files_of, trained_run
from hostile import refused
from lightdiff.jobs.run_result import finished, read_result
from runs import TINY

Command = Callable[..., CompletedProcess[str]]
RUN = Path("lightning_logs/digits/version_0")
MODEL = (f"ckpt_path={RUN}", "num_samples=2", "progress=false")
GROUPS = (
    "dataset",
    "model",
    "schedule",
    "objective",
    "sampler",
    "conditioning",
    "optimizer",
    "lr_scheduler",
    "callbacks",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("run") / "version_0")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return copied(trained, tmp_path)


def with_group(run: Path, group: str, value: object) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, group: value}))


@pytest.mark.parametrize("group", GROUPS)
def test_a_run_with_an_odd_group_is_not_resumed(group: str, run: Path, command: Command) -> None:
    for value in ([1], 3, "x", True):
        with_group(run, group, value)
        before = files_of(run)
        done = command("train.py", f"resume={RUN}", "trainer.max_epochs=2")
        refused(done, f"error: {group}={value}: the settings of this group are expected")
        assert files_of(run) == before


@pytest.mark.parametrize("value", [[1], 3, "x", None])
def test_a_model_whose_run_has_an_odd_dataset_knows_its_own(value: object, run: Path, command: Command) -> None:
    with_group(run, "dataset", value)
    assert command("sample.py", *MODEL, "sampler.num_steps=1", "save=grid").returncode == 0
    assert command("export.py", f"ckpt_path={RUN}", "out=shared").returncode == 0
    refused(command("eval.py", *MODEL, "metrics=[kid]"), "num_samples=2: kid needs")


@pytest.mark.parametrize("value", [{"a": 1}, {}])
def test_a_dataset_without_a_class_is_named(value: object, run: Path, command: Command) -> None:
    with_group(run, "dataset", value)
    refused(command("eval.py", *MODEL), "dataset._target_: a value is needed")


@pytest.mark.parametrize("value", ["[1]", "3", "null", "x", "{a:1}", "true"])
@pytest.mark.parametrize(
    ("script", "group"),
    [
        ("eval.py", "dataset"),
        ("eval.py", "metrics"),
        ("sample.py", "sampler"),
        ("train.py", "model"),
        ("train.py", "callbacks"),
    ],
)
def test_an_odd_group_on_the_command_line_is_named(
    script: str, group: str, value: str, run: Path, tmp_path: Path, command: Command
) -> None:
    before = files_of(run)
    base = MODEL if script != "train.py" else [text for text in TINY if text.split("=")[0].split(".")[0] != group]
    refused(command(script, *base, f"{group}={value}"), f"error: {group}", "choices: ")
    assert files_of(run) == before and [path.name for path in run.parent.iterdir()] == ["version_0"]


ODD_RESULTS = ["[1]", "null", "3", '"x"', '{"epochs": "x", "steps": 1, "metrics": {}}', "[" * 100_000, "{", "\udcff"]
ODD_RESULTS += ['{"epochs": 1e999, "steps": 1, "metrics": {}}', '{"epochs": true, "steps": 1, "metrics": {}}']
ODD_RESULTS += ['{"epochs": 9, "steps": 9, "metrics": [1]}', '{"epochs": 9, "steps": 9, "metrics": {"val/loss": "x"}}']


@pytest.mark.parametrize("content", ODD_RESULTS)
def test_an_odd_result_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(content.encode(errors="surrogateescape"))
    assert read_result(tmp_path) is None
    assert finished(tmp_path, {"trainer": {"max_epochs": 1}}) is None


def test_a_finished_run_with_an_odd_result_goes_on_and_makes_it_anew(run: Path, command: Command) -> None:
    (run / "result.json").write_text('{"epochs": 9, "steps": 9, "metrics": [1]}')
    done = command("train.py", f"resume={RUN}")
    assert done.returncode == 0, done.stderr
    assert read_result(run) is not None
