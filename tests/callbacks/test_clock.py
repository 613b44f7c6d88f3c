"""A run whose clock was wrong for a while: TensorBoard shows all points of both halves, in order."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer as PluginEventMultiplexer

from lightdiff.commands.report.points import read_points
from lightdiff.jobs import event_file
from lightdiff.jobs.event_file import EventFile, next_event_file
from runs import TINY, killed, scalars, tiny, train

HOUR = 3600
WRONG_CLOCK = """
import os, time
_real = time.time
time.time = lambda: _real() + float(os.environ["CLOCK_OFFSET"])
"""
"""A module that Python imports at its start, and which moves the clock."""


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(WRONG_CLOCK)
    paths = [str(tmp_path / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return monkeypatch


@pytest.mark.slow
@pytest.mark.parametrize(
    "offsets",
    [(0, -HOUR, -2 * HOUR), (40 * 365 * 24 * HOUR, 0, 0)],
    ids=["set back", "forward, and back"],
)
def test_all_points_are_there_in_order(
    offsets: tuple[int, ...], clock: pytest.MonkeyPatch, tmp_path: Path, run_script
) -> None:
    """Three processes train one epoch each, by their own clocks."""
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    for epoch, offset in enumerate(offsets, 1):
        clock.setenv("CLOCK_OFFSET", str(offset))
        first = (*TINY, "callbacks=no_samples") if epoch == 1 else (f"resume={run}",)
        done = run_script("train.py", *first, f"trainer.max_epochs={epoch}")
        assert done.returncode == 0, done.stderr
    curves = scalars(run)
    assert [step for step, _ in curves["train/loss"]] == [3, 6, 9, 12, 15, 18, 21]
    assert [step for step, _ in curves["val/loss"]] == [7, 14, 21]
    assert scalars(run / "training") == {"loss": curves["train/loss"]}
    assert scalars(run / "validation") == {"loss": curves["val/loss"]}
    for kind, steps_of in ((EventMultiplexer, "Scalars"), (PluginEventMultiplexer, "Tensors")):
        shown = kind().AddRunsFromDirectory(str(run.parent))
        shown.Reload()
        points = getattr(shown, steps_of)("version_0", "val/loss")
        assert [point.step for point in points] == [7, 14, 21]
    assert [point.step for point in read_points(run) if point.name == "val/loss"] == [7, 14, 21]


def test_a_resumed_run_drops_what_it_writes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("callbacks=no_samples")
    train(config, tmp_path / "whole" / "version_0")
    run = tmp_path / "killed" / "version_0"
    killed(config, run, batch=13)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - HOUR)
    train(config, run)
    whole, resumed = scalars(tmp_path / "whole" / "version_0"), scalars(run)
    assert whole.keys() == resumed.keys()
    for tag in whole.keys() - {"train/images_per_second"}:
        assert whole[tag] == resumed[tag], tag


@pytest.mark.parametrize("now", [1_700_000_000.0, 1_500_000_000.0, 1_900_000_000.0])
def test_a_new_event_file_sorts_after_all_others(now: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within one second, where TensorBoard's own names are in the order of the process ids, as text."""
    monkeypatch.setattr(event_file.time, "time", lambda: now)
    (tmp_path / "events.out.tfevents.1700000000.zebra.99999.0").touch()
    (tmp_path / "events.out.tfevents.1600000000.zebra.1.0").touch()
    (tmp_path / "metrics.csv").touch()
    for count in range(3, 6):
        EventFile(tmp_path).close()
        names = sorted(path.name for path in tmp_path.glob("events.out.tfevents.*"))
        assert len(names) == count
        assert next_event_file(tmp_path).name > names[-1]


def test_the_name_holds_the_time_where_the_clock_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file.time, "time", lambda: 1_800_000_000.9)
    (tmp_path / "events.out.tfevents.1700000000.host.1.0").touch()
    assert next_event_file(tmp_path).name.startswith("events.out.tfevents.1800000000.")
