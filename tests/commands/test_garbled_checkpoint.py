"""A checkpoint with a missing or garbled field: one line with the file and the field, code 2, and the run stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from garbled import change, copied, files_of, trained_run
from hostile import refused
from lightdiff import load_model
from lightdiff.model import CheckpointError
from runs import TINY, differences, killed, last, tiny, train

Command = Callable[..., CompletedProcess[str]]
RUN = "lightning_logs/digits/version_0"
FILE = f"{RUN}/checkpoints/last.ckpt"
MORE = "trainer.max_epochs=2"
LOOP = ("loops", "fit_loop")
OPTIMIZER = ("optimizer_states", 0)
SCHEDULER = ("lr_schedulers", 0)
META = torch.zeros(1, device="meta")

GARBLED: list[tuple[tuple[Any, ...], Any, str]] = [
    (("epoch",), ..., "epoch: missing"),
    (("epoch",), -1, "epoch=-1: a whole number, 0 or more, is expected"),
    (("epoch",), True, "epoch=True: a whole number"),
    (("epoch",), 7, "epoch=7: 1 is expected, as loops.fit_loop has counted"),
    (("global_step",), ..., "global_step: missing"),
    (("global_step",), float("nan"), "global_step=nan: a whole number"),
    (("global_step",), 10**30, "global_step=1000000000000000000000000000000: a whole number"),
    (("pytorch-lightning_version",), ..., "pytorch-lightning_version: missing"),
    (("pytorch-lightning_version",), "x", "pytorch-lightning_version=x: a version of Lightning is expected"),
    (("loops",), ..., "loops: missing"),
    (("loops",), {}, "loops.fit_loop: missing"),
    ((*LOOP, "epoch_progress"), None, "loops.fit_loop.epoch_progress=null: a mapping is expected"),
    (
        (*LOOP, "epoch_progress", "current"),
        [],
        "loops.fit_loop.epoch_progress.current: list found: a mapping is expected",
    ),
    (
        (*LOOP, "epoch_loop.batch_progress", "total", "processed"),
        -1,
        "epoch_loop.batch_progress.total.processed=-1: a whole",
    ),
    (("callbacks",), 3, "callbacks=3: a mapping is expected"),
    (("callbacks",), ..., "callbacks: missing"),
    (("callbacks", "Curves", "sums"), torch.zeros(3), "callbacks.Curves.sums: Tensor found: a tensor of 2x4x2 sums"),
    (("callbacks", "RunRecord", "metrics"), {"val/loss": "x"}, "callbacks.RunRecord.metrics.val/loss=x: a number"),
    (("callbacks", "Checkpoints", "best"), "x", "callbacks.Checkpoints.best=x: a number is expected"),
    (("optimizer_states",), ..., "optimizer_states: missing"),
    (("optimizer_states",), [], "optimizer_states: it has 0 entries, 1 are expected"),
    ((*OPTIMIZER, "state"), {}, "optimizer_states[0].state: empty, but 3 steps are done"),
    ((*OPTIMIZER, "state", 0), {}, "optimizer_states[0].state[0].step: missing"),
    ((*OPTIMIZER, "state", 0, "exp_avg"), torch.zeros(5, 5), "optimizer_states[0]: not usable ("),
    ((*OPTIMIZER, "state", 0, "step"), torch.tensor(float("nan")), "optimizer_states[0].state[0].step: Tensor found"),
    ((*OPTIMIZER, "param_groups", 0, "params"), [0, 1], "optimizer_states[0]: not usable (ValueError: "),
    (
        (*OPTIMIZER, "param_groups", 0, "lr"),
        float("nan"),
        "optimizer_states[0].param_groups[0].lr=nan: a learning rate",
    ),
    (("lr_schedulers",), ..., "lr_schedulers: missing"),
    (("lr_schedulers",), [], "lr_schedulers: it has 0 entries, 1 are expected"),
    ((*SCHEDULER, "lr_lambdas"), ..., "lr_schedulers[0].lr_lambdas: missing"),
    ((*SCHEDULER, "last_epoch"), -1, "lr_schedulers[0].last_epoch=-1: a whole number"),
    ((*SCHEDULER, "optimizer"), "x", "lr_schedulers[0]: not usable (AttributeError: "),
    (("state_dict",), ..., "state_dict: missing"),
    (
        ("state_dict", "trained.network.outc.bias"),
        None,
        "state_dict.trained.network.outc.bias=null: a dense tensor is expected",
    ),
    (
        ("state_dict", "trained.network.outc.bias"),
        ...,
        "trained.network.outc.bias is None there and [1] in this configuration",
    ),
    (
        ("state_dict", "trained.network.outc.bias"),
        torch.zeros(1, device="meta"),
        "state_dict.trained.network.outc.bias: Tensor found",
    ),
    (("state_dict", "ema._extra_state"), ..., "ema._extra_state is None there and dict in this configuration"),
    (
        ("state_dict", "ema._extra_state"),
        {"num_updates": "x"},
        "state_dict.ema._extra_state.num_updates=x: a whole number",
    ),
    (("lightdiff", "format"), 2, "lightdiff.format=2: 1, the format that this version reads, is expected"),
    (("lightdiff", "model"), None, "lightdiff.model=null: a mapping is expected"),
    (("lightdiff", "training"), {"device": "cpu"}, "lightdiff.training.compiled: missing"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("run") / "version_0")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return copied(trained, tmp_path)


def named(field: tuple[Any, ...]) -> str:
    return ".".join(map(str, field))


@pytest.mark.parametrize(
    ("field", "value", "message"), GARBLED, ids=[f"{named(row[0])}-{i}" for i, row in enumerate(GARBLED)]
)
def test_a_garbled_field_is_named(
    field: tuple[Any, ...], value: Any, message: str, run: Path, command: Command
) -> None:
    change(run, field, value)
    before = files_of(run)
    refused(command("train.py", f"resume={RUN}", MORE), f"resume={FILE}: ", message)
    assert files_of(run) == before


@pytest.mark.parametrize("field", ["epoch", "loops", "callbacks"])
def test_the_newest_good_one_is_offered(field: str, run: Path, command: Command) -> None:
    change(run, (field,), "x")
    change(run, (field,), None, name="best.ckpt")
    refused(command("train.py", f"resume={RUN}", MORE), "there is no good checkpoint in")
    change(run, (field,), torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)[field], name="best.ckpt")
    before = files_of(run)
    refused(command("train.py", f"resume={RUN}", MORE), "there is no good checkpoint in")
    assert files_of(run) == before


def test_a_checkpoint_that_is_not_the_last_is_named_itself(run: Path, command: Command) -> None:
    change(run, (*OPTIMIZER, "state"), {}, name="best.ckpt")
    before = files_of(run)
    refused(
        command("train.py", f"resume={RUN}/checkpoints/best.ckpt", MORE), f"resume={RUN}/checkpoints/best.ckpt: optim"
    )
    assert files_of(run) == before


def test_the_optimizer_state_of_another_network_is_refused(run: Path, tmp_path: Path, command: Command) -> None:
    """Of as many parameters, one of them with another shape."""
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    state[0]["state"][0] = state[0]["state"][3]
    change(run, ("optimizer_states",), state)
    refused(command("train.py", f"resume={RUN}", MORE), f"resume={FILE}: optimizer_states[0]: not usable")


STOP = "pytorch_lightning.callbacks.EarlyStopping"


def test_what_only_lightning_can_restore_is_named_as_well(tmp_path: Path, command: Command) -> None:
    """The state of a callback that is not lightdiff's."""
    stopping = f"+callbacks.stop={{_target_:{STOP},monitor:val/loss}}"
    made = command("train.py", *TINY, "callbacks=no_samples", "trainer.max_epochs=1", stopping)
    assert made.returncode == 0, made.stderr
    run = tmp_path / RUN
    callbacks = last(run)["callbacks"]
    (key,) = (key for key in callbacks if key.startswith("EarlyStopping"))
    change(run, ("callbacks", key), {"wait_count": 0})
    before = files_of(run)
    done = command("train.py", f"resume={RUN}", MORE, f"callbacks.stop._target_={STOP}")
    refused(done, f"resume={FILE}: callbacks.EarlyStopping", "not usable (KeyError: 'stopped_epoch')")
    assert files_of(run) == before


def test_a_good_one_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """As the run would have done without a stop, with a learning rate that changes and a fused optimizer."""
    config = tiny("callbacks=no_samples", "lr_scheduler=cosine", "optimizer=adamw", "trainer.limit_train_batches=3")
    straight = train(config, tmp_path / "straight")
    killed(config, tmp_path / "resumed", batch=5)
    resumed = train(config, tmp_path / "resumed")
    for field in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(straight[field], resumed[field]) == []


# -- models -------------------------------------------------------------------------------------------------------------

DESCRIBED: list[tuple[tuple[Any, ...], Any, str]] = [
    (("epoch",), "x", "epoch=x: a whole number"),
    (("global_step",), -1, "global_step=-1: a whole number"),
    (("state_dict",), [], "state_dict: list found: a mapping is expected"),
    (("state_dict", "trained.network.outc.bias"), "x", "state_dict.trained.network.outc.bias=x: a dense tensor"),
    (("lightdiff", "model", "seed"), ..., "lightdiff.model.seed: missing"),
    (("lightdiff", "model", "image_shape"), [1, 16], "lightdiff.model.image_shape: it has 2 entries, 3 are expected"),
    (
        ("lightdiff", "model", "image_shape"),
        [1, 16, -1],
        "lightdiff.model.image_shape[2]=-1: a whole number, 1 or more",
    ),
    (("lightdiff", "model", "codec"), [0, 1], "lightdiff.model.codec: list found: a mapping is expected"),
    (("lightdiff", "dataset"), [1], "lightdiff.dataset: list found: a mapping is expected"),
]


@pytest.mark.parametrize(("field", "value", "message"), DESCRIBED, ids=[named(row[0]) for row in DESCRIBED])
def test_a_model_with_a_garbled_field_is_refused(
    field: tuple[Any, ...], value: Any, message: str, run: Path, command: Command
) -> None:
    change(run, field, value)
    with pytest.raises(CheckpointError) as caught:
        load_model(run)
    assert message in str(caught.value) and str(run) in str(caught.value) and "\n" not in str(caught.value)
    refused(command("sample.py", f"ckpt_path={RUN}", "num_samples=1"), f"ckpt_path={FILE}: ", message)
    refused(command("eval.py", f"ckpt_path={RUN}", "num_samples=1"), f"ckpt_path={FILE}: ", message)
    refused(command("export.py", f"ckpt_path={RUN}", "out=shared"), f"ckpt_path={FILE}: ", message)
    refused(command("train.py", *TINY, f"init_from={RUN}", "callbacks=no_samples"), f"init_from={FILE}: ", message)


@pytest.mark.parametrize(
    "field", ["loops", "callbacks", "optimizer_states", "lr_schedulers", "pytorch-lightning_version"]
)
def test_a_model_needs_no_state_of_training(field: str, run: Path) -> None:
    change(run, (field,), "x")
    assert load_model(run).sample(1, num_steps=1).shape == (1, 1, 16, 16)
