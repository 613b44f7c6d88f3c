"""What a user sees of a run on a terminal, in a log file, and from two processes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddpm_unet import DDPM_UNET
from lightdiff.callbacks import ProgressBar
from lightdiff.callbacks.pace import Pace
from lightdiff.callbacks.progress import Epoch
from lightdiff.utils.progress import SCREEN, Task
from runs import ROOT, TINY, killed, tiny, train
from waiting import PATIENCE

SHOWN = tuple(override for override in TINY if "enable_" not in override)


def on_a_terminal(folder: Path, *arguments: str, wanted: str | None = None) -> str:
    """Run train.py under a pseudo terminal and return what it wrote there; `wanted` ends it as soon as it is shown."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    master, slave = pty.openpty()
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=slave, stderr=slave, stdin=slave)
    os.close(slave)
    written = b""
    try:
        while not (wanted and re.search(wanted, written.decode(errors="ignore"))):
            try:
                read = os.read(master, 65536)
            except OSError:  # the process has closed its side
                break
            if not read:
                break
            written += read
    finally:
        if wanted:
            process.kill()
        os.close(master)
        process.wait(timeout=PATIENCE)
    return written.decode()


def trainer_at(step: int) -> SimpleNamespace:
    """What the bar asks of the trainer of a run of ten epochs of 469 steps."""
    return SimpleNamespace(
        estimated_stepping_batches=4690,
        global_step=step,
        num_training_batches=469,
        accumulate_grad_batches=1,
        num_val_batches=[79],
        sanity_checking=False,
    )


def test_a_terminal_shows_the_epoch_the_loss_the_pictures_and_the_time_left(tmp_path: Path) -> None:
    quick = "callbacks.progress.refresh_seconds=0.01"
    text = on_a_terminal(tmp_path, *SHOWN, "sampler=ddpm", "sampler.num_steps=200", quick)
    for pattern in (
        r"Epoch 1/2, batch [2-7]/7 \|█+ *\| 0:\d\d, 0:\d\d left, run 0:\d\d left, loss=\d",
        r"\rvalidation \d/2 \|",
        r"\rdrawing samples \d+/200 \|█* *\| 0:\d\d",
        r"Epoch 2/2, batch 7/7 .*loss=\d\.\d+, val/loss=",
        r"\nsamples: +lightning_logs/digits/version_0/samples/step_0000014.png",
        r"\nnext: +python sample.py ckpt_path=lightning_logs/digits/version_0",
        r"\n +tensorboard --logdir lightning_logs",
        r"\n +python train.py resume=lightning_logs/digits/version_0 trainer.max_epochs=4",
    ):
        assert re.search(pattern, text.replace("\r\n", "\n")), pattern
    for noise in ("FLOPs", "TPU", "Tip", "http"):
        assert noise not in text
    log = (tmp_path / "lightning_logs/digits/version_0/train.log").read_text()
    assert "\r" not in log and "█" not in log and "batch 3/7" not in log
    assert "GPU available" in log


def test_the_network_is_described_without_its_average(command: Callable) -> None:
    done = command("train.py", "dataset=digits", "trainer=cpu", "trainer.max_steps=1", "callbacks=no_samples", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "network:    UNet, 12.9 M parameters, 51.676 MB; their average is kept apart\n" in done.stdout
    for block, parameters in DDPM_UNET.items():
        assert re.search(rf"\b{block} {parameters:,}[,\n]", done.stdout), block
    assert re.search(r"\ndevice: +CPU, \d+ thread", done.stdout)
    assert "\nspeed: " in done.stdout
    assert done.stderr == ""


QUICK = ("dataset.batch_size=2", "trainer.limit_val_batches=0")


def test_a_run_says_how_long_it_takes_and_what_takes_minutes(tmp_path: Path) -> None:
    """The tutorial's recipe on a CPU; the run is ended as soon as it has spoken."""
    hours = ("dataset=digits", "trainer=cpu", "trainer.max_epochs=100000", "callbacks=no_samples", "model=unet_small")
    text = on_a_terminal(tmp_path, *hours, wanted="digits_fast")
    assert re.search(
        r"\rthis run: 1,[23]\d\d,000 steps at [\d.e-]+ s: about [\d.]+ (hours|days) on this machine, plus", text
    )
    assert "in minutes: python train.py experiment=mnist_fast (about 10 minutes on 2 cores), fashion_fast or" in text


def test_a_log_file_gets_lines_now_and_then(command: Callable) -> None:
    done = command("train.py", *SHOWN, "trainer.limit_train_batches=1.0", "callbacks.progress.line_seconds=0.02")
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stdout and "█" not in done.stdout and done.stderr == ""
    assert re.search(r"^Epoch 1/2, batch \d+/101: 0:\d\d", done.stdout, re.MULTILINE)


def test_without_a_bar_nothing_is_shown(command: Callable) -> None:
    settings = ("trainer.enable_progress_bar=false", "trainer.enable_model_summary=false")
    done = command("train.py", *SHOWN, *settings, "callbacks.progress.line_seconds=0.01")
    assert done.returncode == 0, done.stderr
    assert not re.search("Epoch|drawing|validation|this run|network:", done.stdout)


@pytest.mark.slow
def test_two_processes_print_once(run_script: Callable) -> None:
    short = ("trainer.devices=2", "trainer.max_epochs=1", "trainer.limit_train_batches=2")
    done = run_script("train.py", *SHOWN, *short, "callbacks.progress.line_seconds=1000")
    assert done.returncode == 0, done.stderr
    for line in ("network: ", "device: ", "speed: ", "next: ", "samples: "):
        assert len(re.findall(f"^{line}", done.stdout, re.MULTILINE)) == 1, line
    assert "CPU, 1 thread, 2 processes" in done.stdout


@pytest.mark.parametrize("first", [True, False])
def test_only_the_first_process_has_a_bar(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Task] = []
    monkeypatch.setattr(SCREEN, "begin", shown.append)
    bar, trainer = ProgressBar(), trainer_at(step=0)
    trainer.is_global_zero = first
    bar.setup(trainer, None, "fit")
    bar.on_train_start(trainer, None)
    bar.on_validation_start(trainer, None)
    assert len(shown) == 2 * first


def test_a_run_of_the_time_before_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its config.yaml counts the bar's refreshes in batches, and knows nothing of fast pictures."""
    config = tiny("trainer.enable_progress_bar=true")
    config["callbacks"]["progress"] = {"_target_": "lightdiff.callbacks.ProgressBar", "refresh_rate": 10}
    config["callbacks"]["samples"]["frame_every"] = 50
    del config["callbacks"]["samples"]["fast_steps"]
    killed(config, tmp_path, batch=10)
    assert train(config, tmp_path)["global_step"] == 14
    assert len(list((tmp_path / "samples").glob("step_*.gif"))) == 2


def test_a_refresh_rate_of_0_shows_nothing() -> None:
    assert not ProgressBar(refresh_rate=0).is_enabled
    assert ProgressBar(refresh_rate=10).is_enabled


@pytest.mark.parametrize("setting", ["refresh_seconds", "line_seconds"])
@pytest.mark.parametrize("value", [0, -1.0, float("inf")])
def test_impossible_settings_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}={value}: a positive number of seconds is expected"):
        ProgressBar(**{setting: value})


def test_time_left_of_a_run() -> None:
    """Batches of 2 s after a first one of 30 s, pauses of 20 s after each epoch of 5 batches, 3 epochs."""
    pace, now = Pace(batches_left=15, batches_per_epoch=5), 0.0
    pace.resume(now)
    assert pace.seconds_left(now) is None
    now += 30
    pace.batch_ended(now)
    assert pace.seconds_left(now) is None
    for _ in range(4):
        now += 2
        pace.batch_ended(now)
    assert pace.seconds_left(now) == 10 * 2
    now += 20
    pace.resume(now)
    assert pace.seconds_left(now) == 10 * 2 + 2 * 20
    assert pace.seconds_for(5, now) == 5 * 2
    assert pace.seconds_for(5, now + 1.5) == 5 * 2 - 1.5
    assert pace.seconds_for(5, now + 100) == 4 * 2
    assert (pace.timed_batches, pace.timed_seconds, pace.timed(now + 1)) == (4, 8, 9)


def test_a_run_without_an_end_has_no_time_left() -> None:
    pace = Pace(batches_left=float("inf"), batches_per_epoch=5)
    pace.resume(0)
    pace.batch_ended(1)
    pace.batch_ended(2)
    assert pace.seconds_left(2) is None
    epoch = Epoch(pace)
    epoch.begin(3, -1, 0)
    assert (epoch.description, epoch.total) == ("Epoch 3, batch", 5)


@pytest.mark.parametrize(("left", "done", "total"), [(100, 0, 10), (3, 0, 3), (3, 6, 9), (24, 6, 10)])
def test_an_epoch_has_the_batches_that_will_be_trained(left: int, done: int, total: int) -> None:
    epoch = Epoch(Pace(batches_left=left, batches_per_epoch=10))
    epoch.begin(1, 5, done)
    assert (epoch.done, epoch.total) == (done, total)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (0, "this run: 4,690 steps at 0.62 s: about 48 minutes"),
        (2345, "this run: 2,345 of 4,690 steps are left, at 0.62 s: about 24"),
    ],
)
def test_forecast_of_a_new_and_of_a_resumed_run(before: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    bar, trainer = ProgressBar(), trainer_at(step=before)
    bar.on_train_start(trainer, None)
    pace = Pace(batches_left=0, batches_per_epoch=469, timed_batches=4, timed_seconds=4 * 0.62)
    bar._forecast(pace, "cpu")
    bar.on_train_end(trainer, None)
    assert capsys.readouterr().out.startswith(text)


def test_a_run_that_goes_on_within_an_epoch_has_a_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Lightning does not announce that epoch to callbacks."""
    config = tiny(
        "trainer.enable_progress_bar=true",
        "callbacks=no_samples",
        "callbacks.checkpoints.every_n_steps=2",
        "callbacks.progress.line_seconds=0.001",
    )
    killed(config, tmp_path, batch=10)
    capfd.readouterr()
    assert train(config, tmp_path)["global_step"] == 14
    assert re.search(r"Epoch 2/2, batch [2-7]/7", capfd.readouterr().out)
