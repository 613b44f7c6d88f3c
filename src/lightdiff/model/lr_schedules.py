"""Learning-rate schedules: a factor of the optimizer's learning rate for each optimizer step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Constant:
    """Constant factor 1 after a linear warm-up.

    Args:
        warmup_steps: optimizer steps over which the factor grows linearly from 0.

    Raises:
        ValueError: `warmup_steps` is negative.
    """

    warmup_steps: int = 0

    needs_end: ClassVar[bool] = False
    """Whether the factor depends on the number of all steps, so that training needs an end."""

    def __post_init__(self) -> None:
        _check_warmup(self.warmup_steps)

    def factor(self, step: int, total_steps: int) -> float:
        """Return the factor, in [0, 1], for optimizer step `step` = 0, 1, ... of `total_steps`."""
        return _warmup(step, self.warmup_steps)

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """Return the scheduler, which is to be called after each of the `total_steps` optimizer steps."""
        return LambdaLR(optimizer, lambda step: self.factor(step, total_steps))


@dataclass(frozen=True)
class Cosine(Constant):
    """Warm-up, then f + (1 - f) (1 + cos(pi p)) / 2, with p in [0, 1] the share of the steps after the warm-up that is done.

    Args:
        warmup_steps: as for `Constant`.
        final_factor: f, the factor that is reached at the end, in [0, 1].

    Raises:
        ValueError: a setting is out of its range.
    """

    final_factor: float = 0.0

    needs_end: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_final_factor(self.final_factor)

    def factor(self, step: int, total_steps: int) -> float:
        decayed = 0.5 * (1 + math.cos(math.pi * _progress(step, self.warmup_steps, total_steps)))
        return _warmup(step, self.warmup_steps) * (self.final_factor + (1 - self.final_factor) * decayed)


@dataclass(frozen=True)
class Linear(Constant):
    """Warm-up, then 1 - (1 - f) p, with p in [0, 1] the share of the steps after the warm-up that is done.

    Args:
        warmup_steps: as for `Constant`.
        final_factor: f, the factor that is reached at the end, in [0, 1].

    Raises:
        ValueError: a setting is out of its range.
    """

    final_factor: float = 0.0

    needs_end: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_final_factor(self.final_factor)

    def factor(self, step: int, total_steps: int) -> float:
        done = _progress(step, self.warmup_steps, total_steps)
        return _warmup(step, self.warmup_steps) * (1 - (1 - self.final_factor) * done)


HOW_COMPUTED = ("fused", "foreach", "capturable", "differentiable")
"""Settings of an optimizer that decide how fast it computes a step and not which."""


def adopt_settings(checkpoint: dict[str, Any], settings: dict[str, Any]) -> None:
    """Put new optimizer settings into a checkpoint, because Lightning restores the old ones together with the optimizer's state.

    A new learning rate keeps the factor that the schedule had reached. Equal settings change nothing.

    Args:
        checkpoint: the loaded checkpoint; it is changed in place.
        settings: the new optimizer's `defaults`.
    """
    groups = [group for state in checkpoint.get("optimizer_states", []) for group in state["param_groups"]]
    for group in groups:
        base = group.get("initial_lr", group["lr"])
        # the schedule's factor at the step of the checkpoint
        factor = group["lr"] / base if base else 1.0
        now = group["lr"] if settings["lr"] == base else settings["lr"] * factor
        group.update({name: value for name, value in settings.items() if name in group}, lr=now)
        if "initial_lr" in group:
            group["initial_lr"] = settings["lr"]
    for state in checkpoint.get("lr_schedulers", []):
        if "base_lrs" in state:
            state["base_lrs"] = [settings["lr"]] * len(state["base_lrs"])


def check_same_training(checkpoint: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse to go on with another optimizer or learning-rate schedule than the checkpoint's, which does not describe them.

    Args:
        checkpoint: the loaded checkpoint.
        settings: the new optimizer's `defaults`; it has no schedule.

    Raises:
        ValueError: they differ.
    """
    groups = [group for state in checkpoint.get("optimizer_states", []) for group in state["param_groups"]]
    theirs = [{**group, "lr": group.get("initial_lr", group["lr"])} for group in groups]
    differing = {
        name
        for group in theirs
        for name, value in settings.items()
        if name not in HOW_COMPUTED and group.get(name) not in (value, [*value] if isinstance(value, tuple) else value)
    }
    if checkpoint.get("lr_schedulers") or differing:
        what = ", ".join(sorted(differing)) or "a schedule of the learning rate"
        raise ValueError(
            f"ckpt_path: this run had another optimizer than a loaded model has ({what}); build the model with optimizer= and "
            "lr_scheduler= as for that run, instead of loading it"
        )


def adopt_layout(checkpoint: dict[str, Any], optimizer: Optimizer) -> None:
    """Give the optimizer's state in a checkpoint the memory layout (channels last or not) of the parameters it belongs to.

    torch's fused kernels go through state and parameters in the order of memory, so different layouts would mix up the channels.

    Args:
        checkpoint: the loaded checkpoint; it is changed in place.
        optimizer: the new optimizer.
    """
    for saved in checkpoint.get("optimizer_states", []):
        numbers = [number for group in saved["param_groups"] for number in group["params"]]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        # not strict: torch itself refuses a state for another number of parameters, with a message of its own
        for number, parameter in zip(numbers, parameters, strict=False):
            for name, value in saved["state"].get(number, {}).items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    laid_out = torch.empty_like(parameter, dtype=value.dtype, device=value.device, requires_grad=False)
                    saved["state"][number][name] = laid_out.copy_(value)


def _check_warmup(warmup_steps: int) -> None:
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps={warmup_steps}: 0 or more optimizer steps are expected")


def _check_final_factor(final_factor: float) -> None:
    if not 0 <= final_factor <= 1:
        raise ValueError(f"final_factor={final_factor}: a share of the learning rate, in [0, 1], is expected")


def _warmup(step: int, warmup_steps: int) -> float:
    """Return the factor of the warm-up, in (0, 1]."""
    # the first step is already > 0, because a learning rate of exactly 0 would waste it
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _progress(step: int, warmup_steps: int, total_steps: int) -> float:
    """Return the share of the steps after the warm-up that is done, in [0, 1]."""
    return min(1.0, max(0.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))
