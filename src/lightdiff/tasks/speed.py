"""What makes a run fast on its device, chosen in one place: every key that is `auto` is settled here, with the reason.

Each choice follows from the device and the configuration alone, never from a clock, so that a resumed run computes as before.
Only whether to compile depends on the length of the run, which a resume may change: a resumed run goes on as it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightdiff.data import DiffSet
from lightdiff.lightning import DiffusionModel
from lightdiff.utils.config import ConfigError

Config = Mapping[str, Any]

COMPILE_FROM_STEPS = 10_000
"""Optimizer steps from which compiling should pay on a GPU (not measured): it takes a minute and saves milliseconds a step."""
COMPILE_FROM_CALLS = 5_000
"""Likewise calls of the network while sampling, where only the forward pass is compiled."""
WIDE_GROUP = 16
"""Channels a group from which GroupNorm is as fast with channels last on a CPU; with 4 it took eight times as long (measured)."""


@dataclass(frozen=True)
class Choice:
    """A setting and why it is so."""

    value: Any
    reason: str

    def describe(self, yes: str) -> str:
        """For a message: `yes` or `not yes`, with the reason."""
        return f"{yes if self.value else f'not {yes}'} ({self.reason})"


AS_SET = "as set"


def device_kind(accelerator: str) -> str:
    """cpu, cuda or mps for the name of an accelerator or device; auto and gpu are what Lightning will find."""
    if accelerator in ("auto", "gpu"):
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return accelerator.partition(":")[0]


def precision(config: Config) -> Choice:
    """trainer.precision: bf16-mixed where the device has units for it."""
    trainer = config.get("trainer", {})
    asked = trainer.get("precision", "32-true")
    if asked != "auto":
        return Choice(asked, AS_SET)
    kind = device_kind(trainer.get("accelerator", "auto"))
    units = cpu_units() if kind == "cpu" else gpu_units() if kind == "cuda" else None
    return Choice("bf16-mixed", units) if units else Choice("32-true", f"no bfloat16 units on this {kind}")


def cpu_units(flags: Path = Path("/proc/cpuinfo")) -> str | None:
    """What a CPU computes in bfloat16 with; None: nothing, it would be slower than float32."""
    known = (("AMX", "_is_amx_tile_supported", "amx_bf16"), ("AVX-512", "_is_avx512_bf16_supported", "avx512_bf16"))
    for name, question, flag in known:
        ask = getattr(torch.cpu, question, None)
        if ask() if ask is not None else flags.is_file() and flag in flags.read_text().split():
            return f"the CPU's {name} computes bfloat16"
    return None


def gpu_units() -> str | None:
    """What a GPU computes in bfloat16 with; older ones only imitate it."""
    if torch.cuda.get_device_capability() >= (8, 0) and torch.cuda.is_bf16_supported():
        return "the GPU's tensor cores compute bfloat16"
    return None


def fused(config: Config) -> Choice:
    """optimizer.fused: the whole step in one kernel.

    Raises:
        ConfigError: no such value, or one that Lightning would refuse at the first step.
    """
    asked, trainer = config["optimizer"].get("fused", False), config.get("trainer", {})
    _check("optimizer.fused", asked)
    chosen = str(precision(config).value)
    clipped = "-mixed" in chosen and trainer.get("gradient_clip_val") is not None
    if asked != "auto":
        if asked and clipped:
            raise ConfigError(
                f"optimizer.fused=true: not together with trainer.gradient_clip_val in {chosen}; choices: auto, false"
            )
        return Choice(asked, AS_SET)
    kind = device_kind(trainer.get("accelerator", "auto"))
    if kind not in ("cpu", "cuda"):
        return Choice(False, f"not for {kind}")
    if clipped:
        return Choice(False, f"Lightning cannot clip for it in {chosen}")
    if chosen == "16-mixed":
        return Choice(False, "it would hide the scale of 16-mixed from the gradient norm")
    return Choice(True, "one kernel")


def channels_last(config: Config, network: nn.Module, kind: str, half: bool) -> Choice:
    """channels_last: the channels of a pixel side by side in memory.

    Args:
        config: the configuration.
        network: of the model.
        kind: of the device.
        half: whether convolutions are computed in 16 bits.
    """
    asked = config.get("channels_last", False)
    _check("channels_last", asked)
    if asked != "auto":
        return Choice(asked, AS_SET)
    if not any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return Choice(False, "no convolutions")
    if kind == "cuda":  # expected, not measured
        return Choice(half, "as tensor cores want it" if half else "for tensor cores only")
    if kind != "cpu":
        return Choice(False, f"not tried on {kind}")
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    if any(norm.num_channels < WIDE_GROUP * norm.num_groups for norm in norms):
        return Choice(False, "GroupNorm with small groups is slow in it on a CPU")
    return Choice(True, "faster convolutions")


def compiled(config: Config, kind: str, count: float, needed: int, began: bool | None = None) -> Choice:
    """compile: torch.compile of the network.

    Args:
        config: the configuration.
        kind: of the device.
        count: how often it will be used.
        needed: from which count on compiling pays.
        began: whether a resumed run was compiled on this kind of device; None: a new one, or one from elsewhere.
    """
    asked = config.get("compile", False)
    _check("compile", asked)
    if asked != "auto":
        return Choice(asked, AS_SET)
    if kind != "cuda":
        return Choice(False, "no gain on a CPU" if kind == "cpu" else f"not tried on {kind}")
    if began is not None:
        return Choice(began, "as this run began")
    size = "endless" if count == float("inf") else f"{count:,.0f}"
    return Choice(count >= needed, f"{size} steps, it pays from {needed:,} on")


def _check(key: str, value: Any) -> None:
    if value != "auto" and not isinstance(value, bool):
        raise ConfigError(f"{key}={value}: choices: auto, true, false")


@dataclass(frozen=True)
class TrainingSpeed:
    """All choices of a training run.

    Args:
        precision, fused: made when the trainer and the optimizer were built.
        channels_last, compile: made for the network.
        resident: whether the images lie on the device.
    """

    precision: Choice
    channels_last: Choice
    compile: Choice
    fused: Choice
    resident: Choice

    @classmethod
    def of(cls, config: Config, model: DiffusionModel, data: DiffSet, began: Config | None = None) -> TrainingSpeed:
        """The choices for a model and a data set that is set up.

        Args:
            config: plain data.
            model: the model.
            data: its data.
            began: what the checkpoint of a resumed run says of its training; None: a new run.
        """
        kind = device_kind(config["trainer"].get("accelerator", "auto"))
        computed = precision(config)
        as_before = began["compiled"] if began and began["device"] == kind else None
        return cls(
            precision=computed,
            channels_last=channels_last(config, model.network, kind, half="16" in str(computed.value)),
            compile=compiled(config, kind, _steps(config["trainer"], data), COMPILE_FROM_STEPS, as_before),
            fused=fused(config),
            resident=Choice(*data.residence(torch.device(kind))),
        )

    def apply(self, model: DiffusionModel) -> None:
        """Lay out and compile the model; the others are settings of trainer, optimizer and data."""
        _apply(model, self.channels_last, self.compile)

    def __str__(self) -> str:
        parts = (
            f"{self.precision.value} ({self.precision.reason})",
            self.channels_last.describe("channels last"),
            self.compile.describe("compiled"),
            self.fused.describe("a fused optimizer"),
            self.resident.describe("data on the device"),
        )
        return "speed: " + ", ".join(parts)


def prepare_sampling(config: Config, model: DiffusionModel, calls: int) -> str:
    """Lay out and compile a model for sampling as `channels_last` and `compile` say; returns what was chosen, for a message.

    Args:
        config: of sample.yaml or eval.yaml.
        model: on its device.
        calls: how often the network will be called.
    """
    kind = model.device.type
    layout = channels_last(config, model.network, kind, half=config["precision"] != "32-true")
    compiling = compiled(config, kind, calls, COMPILE_FROM_CALLS)
    _apply(model, layout, compiling)
    return f"speed: {config['precision']}, {layout.describe('channels last')}, {compiling.describe('compiled')}"


def _apply(model: DiffusionModel, layout: Choice, compiling: Choice) -> None:
    if layout.value:
        model.to(memory_format=torch.channels_last)
    if compiling.value:
        model.network.compile()  # in place: the names of the weights stay as they are


def _steps(trainer: Config, data: DiffSet) -> float:
    """Optimizer steps of the whole run, as the configuration has it."""
    batches = len(data.train_dataloader())
    limit = trainer.get("limit_train_batches")
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs, steps = (trainer.get(name, -1) for name in ("max_epochs", "max_steps"))
    by_epochs = float("inf") if epochs in (None, -1) else epochs * -(-batches // trainer["accumulate_grad_batches"])
    return min(by_epochs, float("inf") if steps in (None, -1) else steps)
