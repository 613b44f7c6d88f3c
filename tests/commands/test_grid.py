"""A grid of samples or measurements: what cannot work is told once, before the first job."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from lightdiff.commands import evaluate, sample
from runs import tiny, train

Command = Callable[..., CompletedProcess[str]]
QUICK = ("device=cpu", "progress=false", "cache_dir=cache", "num_samples=20", "extractor.dataset=digits")
GRID = ("-m", "sampler.num_steps=2,3")
WRONG = {
    "eval.py metrics=[kid]": ["num_samples=20: kid needs at least one subset of 1000"],
    "eval.py metrics=[fid],[kid]": ["job metrics=[kid]: num_samples=20: kid needs at least one subset of 1000"],
    "eval.py metrics=[kid] num_samples=20,30": [
        "job num_samples=20: num_samples=20: kid needs at least one subset of 1000",
        "job num_samples=30: num_samples=30: kid needs at least one subset of 1000",
    ],
    "eval.py split=trian": ["split=trian: one of train, val, test is expected"],
    "eval.py ckpt_path=nowhere": ["ckpt_path=nowhere: no such checkpoint or run folder"],
    "sample.py save=guidance": ["save=guidance: this model is unconditional"],
    "sample.py guidance_scale=2,3": ["guidance_scale=2: this model is unconditional"],
    "sample.py ckpt_path=nowhere": ["ckpt_path=nowhere: no such checkpoint or run folder"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "version_0"
    train(tiny("callbacks=no_samples", "trainer.max_epochs=1"), folder)
    return folder


@pytest.mark.parametrize("typed", list(WRONG))
def test_it_is_told_once_and_no_job_starts(
    typed: str, run: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def start(*args: object) -> None:
        raise AssertionError("a job has been started")

    monkeypatch.setattr(sample, "sample", start)
    monkeypatch.setattr(evaluate, "evaluate", start)
    script, *overrides = typed.split()
    keys = {override.partition("=")[0] for override in overrides}
    given = [
        word
        for word in (f"ckpt_path={run}", *(QUICK if script == "eval.py" else ()))
        if word.partition("=")[0] not in keys
    ]
    done = command(script, *GRID, *given, *overrides)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert len(lines) == len(WRONG[typed]), done.stderr
    for line, expected in zip(lines, WRONG[typed], strict=True):
        assert line.startswith(f"error: {expected}"), line
    assert [*tmp_path.glob("lightning_logs/*")] == []


def test_a_job_with_a_wrong_sampler_does_not_stop_the_others(run: Path, command: Command) -> None:
    own = shutil.copytree(run, run.with_name("version_1"))
    done = command("sample.py", "-m", f"ckpt_path={own}", "sampler.num_steps=2,0", "num_samples=1", "progress=false")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: job sampler.num_steps=0: sampler.num_steps=0: 1 or more steps")
    assert [path.name for path in (own / "samples").iterdir()] == [Path(done.stdout.rpartition(": ")[2].strip()).name]


def test_commas_separate_the_folders_of_a_sweep_whatever_they_are_called(
    run: Path, command: Command, tmp_path: Path
) -> None:
    for name in ("ü(1)", "lr=0.1"):
        shutil.copytree(run, tmp_path / name)
    done = command("sample.py", "-m", "ckpt_path=ü(1),lr=0.1", "num_samples=1", "sampler.num_steps=1", "save=grid")
    assert done.returncode == 0, done.stderr
    assert all(list((tmp_path / name / "samples").glob("ddim_1_seed0_*/grid.png")) for name in ("ü(1)", "lr=0.1"))


def test_folders_of_an_earlier_command_do_not_hide_a_mistake(
    run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process, such as a notebook's."""
    source = {"path": str(tmp_path / "gone"), "schema": "file", "provider": "command-line"}
    former = OmegaConf.create({"hydra": {"runtime": {"config_sources": [source]}}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", former)
    done = command("sample.py", *GRID, f"ckpt_path={run}", "save=guidance")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
