"""train.py and sample.py as a user types them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lightdiff.callbacks.signals import SaveOnSignal
from runs import ROOT, scalars
from waiting import PATIENCE, until

Run = Callable[..., subprocess.CompletedProcess[str]]
TINY = (
    "dataset=digits",
    "model=unet_small",
    "model.widths=[8,8]",
    "model.attention_levels=[]",
    "trainer=debug",
    "dataset.batch_size=16",
    "sampler=ddim",
    "sampler.num_steps=3",
    "trainer.enable_progress_bar=false",
)


def call(folder: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with one finished run, lightning_logs/digits/version_0."""
    folder = tmp_path_factory.mktemp("work")
    done = call(folder, "train.py", *TINY)
    assert done.returncode == 0, done.stderr
    return folder


def version(folder: Path, number: int) -> Path:
    return folder / "lightning_logs" / "digits" / f"version_{number}"


def test_a_run_leaves_everything_in_one_folder(workplace: Path) -> None:
    names = {path.name.split(".tfevents")[0] for path in version(workplace, 0).iterdir()}
    assert {"checkpoints", "config.yaml", ".hydra", "samples", "train.log", "result.json", "events.out"} <= names
    assert {path.name for path in workplace.iterdir()} == {"lightning_logs"}


@pytest.mark.usefixtures("fresh")
def test_help_lists_every_choice_within_three_seconds_of_a_cpu() -> None:
    times = []
    for _ in range(3):
        start = os.times()
        shown = call(ROOT, "train.py", "--help")
        end = os.times()
        times.append(end.children_user - start.children_user + end.children_system - start.children_system)
    assert shown.returncode == 0
    assert min(times) < 3
    for group in (path for path in (ROOT / "conf").iterdir() if path.is_dir()):
        line = next(line for line in shown.stdout.splitlines() if line.strip().startswith(f"{group.name}:"))
        for choice in group.glob("*.yaml"):
            assert choice.stem in line


MISTAKES = {
    "optimizer.lrr=1": "optimizer.lrr: no such key; did you mean lr?",
    "optimizer.lr=-1": "optimizer.lr=-1: Invalid learning rate",
}
"""Two ways to go wrong; many more in test_mistakes."""


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_in_the_overrides_is_one_line_and_code_2(command: Run, mistake: str, tmp_path: Path) -> None:
    done = command("train.py", *TINY, mistake)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {MISTAKES[mistake]}"), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.glob("lightning_logs/*/*")) == []


def test_an_impossible_value_is_one_line_and_leaves_no_folder(
    command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = command("train.py", *TINY, "callbacks.samples.guidance_scale=3")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: guidance_scale=3: this model is unconditional")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("lightning_logs/*/*")) == []
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    trace = command("train.py", "dataset=minst")
    assert trace.returncode == 2
    assert "Traceback" in trace.stderr


def test_missing_images_are_told(command: Run, tmp_path: Path) -> None:
    done = command("train.py", *TINY, "dataset=mnist")
    message = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert "data/MNIST/raw" in message
    assert "train-images-idx3-ubyte" in message
    assert "dataset=digits" in message
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("lightning_logs/*/*")) == []
    assert not list(tmp_path.rglob("*.gz"))


def test_sweep_makes_a_folder_for_each_job_and_survives_a_failed_one(command: Run, tmp_path: Path) -> None:
    done = command("train.py", *TINY, "-m", "seed=1,2", "optimizer.lr=1e-3,-1", "callbacks=no_samples")
    assert done.returncode == 2
    configs = [
        yaml.safe_load(path.read_text()) for path in tmp_path.glob("lightning_logs/digits/version_*/config.yaml")
    ]
    assert sorted(config["seed"] for config in configs) == [1, 2]
    assert all(version(tmp_path, n).joinpath("result.json").is_file() for n in range(2))
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: job ")]
    assert len(errors) == 2
    assert all("optimizer.lr=-1" in line and "Invalid learning rate" in line for line in errors)


def test_resume_goes_on_in_the_same_folder(command: Run, workplace: Path, tmp_path: Path) -> None:
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    shutil.copytree(version(workplace, 0), run)
    finished = command("train.py", f"resume={run}")
    assert (finished.returncode, "this run is finished" in finished.stdout) == (0, True)
    for refused, message in {
        "optimizer=adamw": "optimizer=adamw: a resumed run keeps its optimizer",
        "trainer.max_epoch=3": "trainer.max_epoch: no such key; did you mean max_epochs?",
    }.items():
        done = command("train.py", f"resume={run}", refused)
        assert done.returncode == 2
        assert message in done.stderr
    longer = command("train.py", f"resume={run}/checkpoints/last.ckpt", "trainer.max_epochs=2")
    assert longer.returncode == 0, longer.stderr
    assert json.loads((run / "result.json").read_text())["epochs"] == 2
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_epochs"] == 2
    assert yaml.safe_load((run / "config.yaml.1").read_text())["trainer"]["max_epochs"] == 1
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    steps = [step for step, _ in scalars(run)["train/loss"]]
    assert steps == list(range(1, 9))
    (run / "checkpoints" / "last.ckpt").write_bytes(b"broken")
    broken = command("train.py", f"resume={run}", "trainer.max_epochs=3")
    assert broken.returncode == 2
    assert "last.ckpt" in broken.stderr


def test_init_from_starts_from_the_weights_alone(command: Run, workplace: Path, tmp_path: Path) -> None:
    source = version(workplace, 0)
    done = command("train.py", *TINY, f"init_from={source}", "optimizer.lr=1e-30", "init_weights=raw")
    assert done.returncode == 0, done.stderr
    before, after = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (source, version(tmp_path, 0))
    )
    assert after["global_step"] == 4
    for name, weight in before["state_dict"].items():
        if name.startswith("trained.network."):
            torch.testing.assert_close(after["state_dict"][name], weight)
    misfit = command("train.py", *TINY, f"init_from={source}", "model.widths=[16,16]")
    assert misfit.returncode == 2
    assert "init_from=" in misfit.stderr and "network.inc" in misfit.stderr
    assert "[16" in misfit.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_saves_and_says_how_to_resume(command: Run, number: int, code: int, tmp_path: Path) -> None:
    arguments = [*TINY, "trainer.max_epochs=100000", "callbacks=no_samples", "trainer.limit_train_batches=50"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = version(tmp_path, 0) / "checkpoints" / "last.ckpt"
    try:
        assert until(checkpoint.exists, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "python train.py resume=lightning_logs/digits/version_0" in errors
    saved = torch.load(checkpoint, weights_only=True)["global_step"]
    assert f"saved step {saved}" in errors
    again = command("train.py", "resume=lightning_logs/digits/version_0", f"trainer.max_steps={saved + 3}")
    assert again.returncode == 0, again.stderr
    assert torch.load(checkpoint, weights_only=True)["global_step"] == saved + 3


def test_an_interruption_that_nothing_waits_for(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before training begins, or the second Ctrl-C."""

    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SaveOnSignal, "on_train_start", pressed)
    handler = signal.getsignal(signal.SIGINT)
    try:
        done = command("train.py", *TINY)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert done.returncode == 130
    assert "interrupted" in done.stderr and "Traceback" not in done.stderr


def test_a_loss_that_is_no_number_stops_the_run(command: Run, tmp_path: Path) -> None:
    done = command("train.py", *TINY, "optimizer.lr=1e25", "trainer.limit_train_batches=20")
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("error: the loss or a weight became NaN or infinite between steps")
    assert "checkpoint" in message
    assert "Traceback" not in done.stderr


def test_sample_writes_the_same_images_for_any_batch_size(command: Run, workplace: Path, tmp_path: Path) -> None:
    images = {}
    for batch_size in (3, 10):
        out = tmp_path / str(batch_size)
        done = command(
            *("sample.py", "ckpt_path=lightning_logs/digits/version_0", "num_samples=10"),
            *(
                f"batch_size={batch_size}",
                "sampler.num_steps=4",
                "save=[grid,png,npz,gif,mp4,strip,steps]",
                f"out={out}",
            ),
            *("seed=5", "stages=3"),
            folder=workplace,
        )
        assert done.returncode == 0, done.stderr
        assert str(out) in done.stdout or out.name in done.stdout
        images[batch_size] = np.load(out / "samples.npz")["images"]
        assert images[batch_size].shape == (10, 16, 16, 1)
        assert images[batch_size].dtype == np.uint8
        files = sorted((out / "images").iterdir())
        assert [path.name for path in files] == [f"{i:05d}.png" for i in range(10)]
        assert np.array_equal(np.asarray(Image.open(files[7])), images[batch_size][7, :, :, 0])
        assert (out / "process.mp4").stat().st_size > 500
        assert len(list((out / "steps").iterdir())) == 5  # four noisy ones and the result
        with Image.open(out / "strip.png") as strip:  # a row of 3 stages for each image of the first batch
            assert strip.width / strip.height == pytest.approx(3 / batch_size, rel=0.2)
        with Image.open(io.BytesIO((out / "process.gif").read_bytes())) as gif:
            assert gif.n_frames >= 4
    assert np.abs(images[3].astype(int) - images[10]).max() <= 1  # rounding


def test_the_job_flag_needs_a_run_folder(command: Run) -> None:
    done = command("train.py", "--job", "nowhere")
    assert done.returncode == 2
    assert "not a run folder" in done.stderr


@pytest.mark.slow
def test_sweep_over_jobs_of_two_processes_makes_one_folder_each(tmp_path: Path) -> None:
    done = call(tmp_path, "train.py", "-m", *TINY, "trainer.devices=2", "seed=1,2", "callbacks=no_samples")
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "lightning_logs" / "digits").iterdir())
    assert [run.name for run in runs] == ["version_0", "version_1"]
    assert sorted(yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in runs) == [1, 2]
    for run in runs:
        assert [step for step, _ in scalars(run)["train/loss"]] == [1, 2, 3, 4]
