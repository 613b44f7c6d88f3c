"""Decide how a training run computes: every decision is made once, here, and handed on with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightdiff.config.speed import (
    COMPILE_FROM_STEPS,
    Choice,
    channels_last,
    compiled,
    device,
    fused,
    lay_out,
    number_of_processes,
    precision,
)
from lightdiff.data import DiffSet
from lightdiff.model import DiffusionModel


@dataclass(frozen=True)
class Decisions:
    """How a training run computes. The builders and the training job take these values and ask nothing again.

    Args:
        device: the device of this process.
        processes: number of processes, over all machines.
        precision: how numbers are computed, in the words of Lightning's Trainer.
        channels_last: whether the channels of a pixel lie side by side in memory.
        compile: whether the network runs through torch.compile.
        fused: whether the optimizer step is one kernel.
        resident: whether the images are kept on the device.
    """

    device: Choice
    processes: Choice
    precision: Choice
    channels_last: Choice
    compile: Choice
    fused: Choice
    resident: Choice

    def apply(self, model: DiffusionModel) -> None:
        """Lay out and compile the model as decided."""
        lay_out(model, self.channels_last, self.compile)

    def __str__(self) -> str:
        parts = (
            f"{self.precision.value} ({self.precision.reason})",
            self.channels_last.describe("channels last"),
            self.compile.describe("compiled"),
            self.fused.describe("a fused optimizer"),
            self.resident.describe("keeping images on the device"),
        )
        return "speed: " + ", ".join(parts)


def decide(
    config: Mapping[str, Any], model: DiffusionModel, data: DiffSet, began: Mapping[str, Any] | None = None
) -> Decisions:
    """Make all decisions for a run.

    Layout depends on the network, compiling on the number of images, residence on their size. Both are therefore there already.

    Args:
        config: the configuration, as plain data.
        model: the model.
        data: the data set, set up.
        began: the entry "training" of the resumed checkpoint, its device and whether it was compiled; None for a new run.

    Raises:
        ConfigError: a value is not auto, true or false, or impossible on this device.
    """
    trainer = config["trainer"]
    found, computed = device(trainer), precision(config)
    kind = found.value.type
    as_before = began["compiled"] if began and began["device"] == kind else None
    return Decisions(
        device=found,
        processes=number_of_processes(trainer),
        precision=computed,
        channels_last=channels_last(config, model.network, kind, half="16" in str(computed.value)),
        compile=compiled(config, kind, _steps(trainer, data), COMPILE_FROM_STEPS, as_before),
        fused=fused(config, str(computed.value)),
        resident=Choice(*data.residence(found.value)),
    )


def _steps(trainer: Mapping[str, Any], data: DiffSet) -> float:
    """Return the optimizer steps of the whole run that the settings ask for; infinite if they set no end."""
    batches = data.batches_per_epoch
    limit = trainer.get("limit_train_batches")
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs, steps = (trainer.get(name, -1) for name in ("max_epochs", "max_steps"))
    by_epochs = float("inf") if epochs in (None, -1) else epochs * -(-batches // trainer["accumulate_grad_batches"])
    return min(by_epochs, float("inf") if steps in (None, -1) else steps)
