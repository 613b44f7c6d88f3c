"""Two processes train like one: same global batch, same curve, one folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm

from lightdiff.config import build
from lightdiff.config.decisions import Decisions
from lightdiff.config.speed import Choice
from lightdiff.jobs import trainer
from lightdiff.jobs.run_config import write_config
from runs import ROOT, TINY, composed, differences, last, scalars, tiny, train, train_in_two_processes
from waiting import PATIENCE, until

FLOAT64 = ("trainer.precision=64-true", "dataset.horizontal_flip=true", "callbacks.checkpoints.every_n_steps=2")


SMALLER_LAST_BATCH = (  # of 1,438 images, 238 are left over in each epoch
    *("dataset.drop_last=false", "dataset.batch_size=400", "dataset.source.val_fraction=0.2"),
    "trainer.limit_train_batches=null",
)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(["conditioning=none"], marks=pytest.mark.slow),
        ["conditioning=label"],
        pytest.param(["conditioning=label", *SMALLER_LAST_BATCH], marks=pytest.mark.slow),
        pytest.param(["conditioning=label", "objective=consistency"], marks=pytest.mark.slow),
    ],
    ids=["unconditional", "by label", "smaller last batch", "consistency"],
)
def test_two_processes_equal_one(settings: list[str], tmp_path: Path) -> None:
    config = tiny(*FLOAT64, *settings)
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


CONSISTENCY = (
    *("objective=consistency", "objective.ratios=[0.0,0.3,0.5,0.6,0.7,0.8,0.9]", "callbacks=no_samples"),
    *("callbacks.checkpoints.every_n_steps=2", "trainer.precision=32-true"),
)


@pytest.mark.slow
def test_two_processes_that_are_killed_and_resumed_in_another_stage_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    config = tiny(*CONSISTENCY)
    whole, killed = (tmp_path / name / "version_0" for name in ("whole", "killed"))
    train_in_two_processes(config, whole)
    train_in_two_processes(config, killed, until=9)
    assert last(killed)["global_step"] == 8
    train_in_two_processes(config, killed)
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert differences(last(whole)[name], last(killed)[name], name) == []


BATCH_NORM = ("model=simple_unet", "model.widths=[4,8]", "model.embed_dim=8", "trainer.max_epochs=1")


@pytest.mark.slow
def test_batch_norm_of_several_cpu_processes_is_warned_about(tmp_path: Path) -> None:
    """There torch cannot take the statistics of the whole batch, so the curve is not the one of a single process."""
    config = composed(*(part for part in TINY if not part.startswith("model")), *BATCH_NORM)
    one, two = tmp_path / "one" / "version_0", tmp_path / "two" / "version_0"
    train(config, one)
    train_in_two_processes(config, two)
    warned = "the BatchNorm of SimpleUNet uses each process's own images"
    assert [(run / "train.log").read_text().count(warned) for run in (one, two)] == [0, 1]


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_batch_norm_of_several_gpus_is_synchronised(
    devices: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(trainer, "call", lambda target, settings, **extra: asked.append(settings["sync_batchnorm"]))
    decided = dict.fromkeys((field.name for field in fields(Decisions)), Choice(False, "does not matter"))
    decided |= {"processes": Choice(devices, ""), "device": Choice(torch.device(kind), "")}
    trainer.build_trainer(tiny(f"trainer.devices={devices}"), tmp_path, Decisions(**decided), [], [])
    assert asked == [(devices, kind) == (2, "cuda")]


def test_synchronised_batch_norm_keeps_the_names_of_the_weights() -> None:
    """So that checkpoints of one process and of several fit each other."""
    model = build.build_model(composed(*(part for part in TINY if not part.startswith("model")), *BATCH_NORM))
    names = list(model.state_dict())
    converted = TorchSyncBatchNorm().apply(model)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in converted.modules())
    assert list(converted.state_dict()) == names


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
        assert until(checkpoint.exists, process)
        if receivers == "group":
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    saved = int(errors.split("saved step ")[1].split()[0])
    assert last(folder)["global_step"] == saved
