"""Two processes train like one: same global batch, same curve, one folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lightdiff.tasks.run_folder import write_config
from runs import ROOT, last, scalars, tiny, train, train_in_two_processes

FLOAT64 = ("trainer.precision=64-true", "dataset.horizontal_flip=true", "callbacks.checkpoints.every_n_steps=2")


@pytest.mark.parametrize("conditioning", [pytest.param("none", marks=pytest.mark.slow), "label"])
def test_two_processes_equal_one(conditioning: str, tmp_path: Path) -> None:
    config = tiny(*FLOAT64, f"conditioning={conditioning}")
    one, two = tmp_path / "one" / "version_0", tmp_path / "two" / "version_0"
    alone = train(config, one)
    train_in_two_processes(config, two)
    together = last(two)
    assert [path.name for path in two.parent.iterdir()] == ["version_0"]
    assert together["global_step"] == alone["global_step"]
    for name, weight in alone["state_dict"].items():
        if isinstance(weight, torch.Tensor):
            torch.testing.assert_close(together["state_dict"][name], weight, rtol=1e-8, atol=1e-10, msg=name)
    curves = scalars(one), scalars(two)
    assert curves[0].keys() == curves[1].keys()
    for tag in curves[0].keys() - {"train/images_per_second"}:
        steps, values = zip(*curves[0][tag], strict=True)
        steps_of_two, values_of_two = zip(*curves[1][tag], strict=True)
        assert steps == steps_of_two, tag
        assert values_of_two == pytest.approx(values, rel=1e-5), tag
    images = [sorted(path.read_bytes() for path in (run / "samples").glob("*.png")) for run in (one, two)]
    assert images[0] == images[1]


@pytest.mark.parametrize("receivers", ["first", "group"])
def test_two_processes_stop_together_on_a_signal(receivers: str, tmp_path: Path) -> None:
    config = tiny("trainer.max_epochs=10000", "trainer.devices=2", "callbacks=no_samples")
    folder = tmp_path / "version_0"
    folder.mkdir()
    write_config(folder, config)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--job", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        checkpoint = folder / "checkpoints" / "last.ckpt"
        deadline = time.monotonic() + 120
        while not checkpoint.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        if receivers == "group":
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    saved = int(errors.split("saved step ")[1].split()[0])
    assert last(folder)["global_step"] == saved
