"""A training job checks, decides and builds once each: what is shown is what is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lightdiff.commands import launch, resume
from lightdiff.config import build, decisions, speed
from lightdiff.config.decisions import Decisions, decide
from lightdiff.config.speed import Choice, needs_processes, number_of_processes
from lightdiff.data import DiffSet, diffset
from lightdiff.data.loader import BatchLoader
from lightdiff.jobs import train
from runs import TINY, tiny

SHORT = (*TINY, "trainer.max_epochs=1", "callbacks=no_samples", "trainer.precision=auto")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often a job checks its settings, chooses its precision, asks for free memory, and makes a loader of each split."""
    count: Counter[str] = Counter()

    def wrap(owner: Any, name: str, shown: str | None = None) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def counting(*arguments: Any, **settings: Any) -> Any:
            count[shown or name] += 1
            return function(*arguments, **settings)

        monkeypatch.setattr(owner, name, counting)

    for module in (launch, resume, train):
        wrap(module, "check_settings")
    for module in (speed, decisions):
        wrap(module, "precision")
        wrap(module, "fused")
    for name in ("channels_last", "compiled"):
        wrap(decisions, name)
    wrap(diffset, "residence")
    wrap(DiffSet, "train_dataloader")
    wrap(BatchLoader, "__init__", "loader")
    yield count


ONCE = dict.fromkeys(
    ("check_settings", "precision", "fused", "channels_last", "compiled", "residence", "train_dataloader"), 1
)


def test_a_command_does_each_once(command: Callable[..., Any], counted: Counter[str]) -> None:
    done = command("train.py", *SHORT)
    assert done.returncode == 0, done.stderr
    # a loader to train and one to validate
    assert counted == {**ONCE, "loader": 2}
    counted.clear()
    folder = "resume=lightning_logs/digits/version_0"
    assert command("train.py", folder, "trainer.max_epochs=2").returncode == 0
    assert counted == {**ONCE, "loader": 2}


def test_the_launcher_of_several_devices_checks_once(
    command: Callable[..., Any], counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's own process does the rest."""
    monkeypatch.setattr("os.execve", lambda *arguments: None)
    assert command("train.py", *SHORT, "trainer.devices=2").returncode == 0
    assert counted == {"check_settings": 1}


def test_a_refused_setting_leaves_no_folder(command: Callable[..., Any], tmp_path: Path) -> None:
    """Refused by the check, by a builder, and by Lightning's Trainer after the images were read."""
    for wrong in ("trainer.max_epochs=-7", "callbacks.checkpoints.every_n_epochs=0", "trainer.strategy=dpp"):
        done = command("train.py", *SHORT, wrong)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert wrong.partition("=")[0] in done.stderr
        assert not (tmp_path / "lightning_logs").exists()


def test_every_decision_has_a_reason() -> None:
    config = tiny("trainer.precision=auto")
    data = build.build_data(config)
    data.setup()
    decided = decide(config, build.build_model(config), data)
    choices = {field.name: getattr(decided, field.name) for field in fields(Decisions)}
    assert all(isinstance(choice, Choice) and choice.reason for choice in choices.values())
    assert choices["processes"] == Choice(1, "as set")
    assert str(choices["device"].value) == "cpu"


def test_what_was_decided_is_what_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The builders ask nothing again: what `decide` gives goes into trainer, optimizer and loaders."""
    built: list[Any] = []
    ask = train.decide

    def decided(*arguments: Any, **settings: Any) -> Decisions:
        return replace(ask(*arguments, **settings), fused=Choice(False, "test"), precision=Choice("64-true", "test"))

    monkeypatch.setattr(train, "decide", decided)
    monkeypatch.setattr(train.Job, "fit", lambda job: built.append(job))
    train.run_job(tmp_path, tiny("optimizer.fused=true", "trainer.precision=32-true"))
    (job,) = built
    assert job.trainer.precision == "64-true"
    assert not job.model._new_optimizer().defaults["fused"]


@pytest.mark.parametrize(
    ("devices", "nodes", "expected"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (2, 2, 4),
        ([3], 1, 1),
        ([0, 3], 2, 4),
        ("0,3", 1, 2),
        ("2", 1, 2),
        ("1,", 1, 1),
        ("auto", 2, 8),
    ],
)
def test_number_of_processes(devices: Any, nodes: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    settings = {"devices": devices, "num_nodes": nodes}
    assert number_of_processes(settings).value == expected
    assert needs_processes(settings) is (expected > 1)
    # a CPU found by "auto" is one
    assert number_of_processes({"devices": "auto", "accelerator": "cpu"}).value == 1


@pytest.mark.parametrize(("devices", "rank", "index"), [(1, 0, 0), (2, 1, 1), ([3], 0, 3), ([3, 2], 1, 2), ([9], 0, 0)])
def test_each_process_decides_about_its_own_gpu(
    devices: Any, rank: int, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU of which the free memory is asked is the one that Lightning gives to the process."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    assert speed.device({"accelerator": "gpu", "devices": devices}) == Choice(torch.device("cuda", index), "found")
