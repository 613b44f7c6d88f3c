"""Resume with other settings, interruptions outside of training, names of sampled folders, sweeps of interrupted jobs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightdiff.model.lr_schedules import Cosine, adopt_settings
from runs import ROOT, last, tiny, train
from waiting import PATIENCE, until

Command = Callable[..., subprocess.CompletedProcess[str]]
TINY = ("dataset=digits", "model=unet_small", "model.widths=[8,8]", "model.attention_levels=[]", "trainer=debug")
QUICK = (*TINY, "dataset.batch_size=16", "callbacks=no_samples", "trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of seven steps each."""
    folder = tmp_path_factory.mktemp("run") / "digits" / "version_0"
    train(tiny("callbacks=no_samples"), folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "digits" / "version_0"))


def test_a_learning_rate_given_on_resume_is_the_one_used(run: Path, command: Command) -> None:
    before = last(run)["state_dict"]
    done = command(
        "train.py", f"resume={run}", "trainer.max_epochs=3", "optimizer.lr=1e-30", "optimizer.betas=[0.5,0.6]"
    )
    assert done.returncode == 0, done.stderr
    group = last(run)["optimizer_states"][0]["param_groups"][0]
    assert (group["lr"], group["initial_lr"], list(group["betas"])) == (1e-30, 1e-30, [0.5, 0.6])
    weights = {name: weight for name, weight in last(run)["state_dict"].items() if name.startswith("trained.network.")}
    assert all(torch.equal(weight, before[name]) for name, weight in weights.items())  # 1e-30 moves nothing
    assert yaml.safe_load((run / "config.yaml").read_text())["optimizer"]["lr"] == 1e-30
    assert yaml.safe_load((run / "config.yaml.1").read_text())["optimizer"]["lr"] == 2e-4
    assert not (run / "config.yaml.2").exists()


def optimizer_in_the_middle(lr: float, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=lr)
    scheduler = Cosine(warmup_steps=3)(optimizer, 10)
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler


@pytest.mark.parametrize("steps", [0, 2, 7])
def test_another_learning_rate_goes_on_along_the_same_schedule(steps: int) -> None:
    optimizer, scheduler = optimizer_in_the_middle(1e-3, steps)
    wanted, _ = optimizer_in_the_middle(5e-3, steps + 1)
    checkpoint = {"optimizer_states": [optimizer.state_dict()], "lr_schedulers": [scheduler.state_dict()]}
    adopt_settings(checkpoint, torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=5e-3).defaults)
    resumed, going_on = optimizer_in_the_middle(5e-3, 0)
    resumed.load_state_dict(checkpoint["optimizer_states"][0])
    going_on.load_state_dict(checkpoint["lr_schedulers"][0])
    assert resumed.param_groups[0]["lr"] == pytest.approx(5 * optimizer.param_groups[0]["lr"])
    resumed.step()
    going_on.step()
    assert resumed.param_groups[0]["lr"] == wanted.param_groups[0]["lr"]


def test_equal_settings_change_nothing_in_a_checkpoint() -> None:
    optimizer, scheduler = optimizer_in_the_middle(1e-3, 4)
    checkpoint = {"optimizer_states": [optimizer.state_dict()], "lr_schedulers": [scheduler.state_dict()]}
    before = repr(checkpoint)
    adopt_settings(checkpoint, optimizer.defaults)
    assert repr(checkpoint) == before


def test_resuming_from_an_older_checkpoint_keeps_the_newest_beside_it(run: Path, command: Command) -> None:
    newest = (run / "checkpoints" / "last.ckpt").read_bytes()
    shutil.copyfile(run / "checkpoints" / "best.ckpt", run / "checkpoints" / "older.ckpt")
    done = command("train.py", f"resume={run / 'checkpoints' / 'older.ckpt'}", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    assert (run / "checkpoints" / "replaced_last_1.ckpt").read_bytes() == newest
    assert last(run)["global_step"] == 21
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interruption_before_training_leaves_no_folder(
    number: int, code: int, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        assert list(tmp_path.glob("lightning_logs/digits/version_0"))
        os.kill(os.getpid(), number)
        time.sleep(5)

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("lightdiff.commands.launch.start_job", interrupt)
    done = command("train.py", *QUICK)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("lightning_logs/*/*")) == []
    assert signal.getsignal(signal.SIGTERM) is handler


def test_pictures_beyond_the_checkpoint_that_is_resumed_are_given_up(command: Command, tmp_path: Path) -> None:
    def pictures() -> set[str]:
        return {path.stem for path in (run / "samples").iterdir() if path.stem[-1].isdecimal()}

    run = tmp_path / "digits" / "version_0"
    train(tiny("callbacks=predictions", "trainer.max_epochs=1"), run)
    shutil.copyfile(run / "checkpoints" / "last.ckpt", run / "checkpoints" / "older.ckpt")
    assert command("train.py", f"resume={run}", "trainer.max_epochs=3").returncode == 0
    first, later = {"step_0000007", "prediction_0000007"}, {"step_0000014", "prediction_0000014", "step_0000021"}
    assert pictures() == first | later | {"prediction_0000021"}
    (run / "samples" / "step_of_mine_99.png").touch()
    few = ("trainer.limit_train_batches=5", "trainer.max_epochs=2")
    done = command("train.py", f"resume={run / 'checkpoints' / 'older.ckpt'}", *few)
    assert done.returncode == 0, done.stderr
    assert pictures() == {*first, "step_0000012", "prediction_0000012", "step_of_mine_99"}


def test_samples_of_different_settings_go_to_different_folders(run: Path, command: Command) -> None:
    few = (f"ckpt_path={run}", "num_samples=2", "sampler.num_steps=3", "save=grid", "progress=false")
    for settings in (("sampler=dpmpp_2m",), ("sampler=dpmpp_2m_sde",), ("weights=raw",), ("seed=4",), ()):
        done = command("sample.py", *few, *settings)
        assert (done.returncode, done.stderr) == (0, "")
    folders = list((run / "samples").iterdir())
    assert len({folder.name[-8:] for folder in folders}) == len(folders)
    names = {folder.name[:-9] for folder in folders}
    assert names == {"dpmpp_2m_3_seed0", "dpmpp_2m_sde_3_seed0", "ddim_3_seed0_raw", "ddim_3_seed4", "ddim_3_seed0"}
    grids = {(folder / "grid.png").read_bytes() for folder in folders}
    assert len(grids) == len(names)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death on Linux only")
@pytest.mark.parametrize(
    ("group", "number", "code"),
    [
        (True, signal.SIGINT, 130),  # Ctrl-C in a terminal reaches every process in front
        (False, signal.SIGTERM, 143),
        (False, signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_interrupting_a_sweep_of_two_process_jobs_saves_and_leaves_no_process(
    group: bool, number: int, code: int, tmp_path: Path
) -> None:
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "train.py"),
                "-m",
                *QUICK,
                "trainer.devices=2",
                "trainer.max_epochs=9999",
                "seed=1,2",
            ],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    checkpoint = tmp_path / "lightning_logs" / "digits" / "version_0" / "checkpoints" / "last.ckpt"
    run = checkpoint.parent.parent
    try:
        assert until(checkpoint.exists, process)
        (os.killpg if group else os.kill)(process.pid, number)
        assert process.wait(PATIENCE) == code
        until(lambda: "saved step" in (tmp_path / "errors").read_text())
        assert "Traceback" not in (tmp_path / "errors").read_text()
        assert not (run.parent / "version_1").exists()
        until(lambda: not any(str(run) in _command_line(other) for other in Path("/proc").glob("[0-9]*")))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""
