"""Learning-rate schedules by optimizer step, as factors of the optimizer's own learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Constant:
    """The optimizer's learning rate, after `warmup_steps` optimizer steps of linear growth from 0."""

    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _check_warmup(self.warmup_steps)

    def factor(self, step: int, total_steps: int) -> float:
        """Factor in [0, 1] for the 0-based optimizer step."""
        return _warmup(step, self.warmup_steps)

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        return LambdaLR(optimizer, lambda step: self.factor(step, total_steps))


@dataclass(frozen=True)
class Cosine(Constant):
    """Warm-up, then 1/2 (1 + cos(pi p)) with p the part of the remaining steps that is done, down to `final_factor`."""

    final_factor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_final_factor(self.final_factor)

    def factor(self, step: int, total_steps: int) -> float:
        decayed = 0.5 * (1 + math.cos(math.pi * _progress(step, self.warmup_steps, total_steps)))
        return _warmup(step, self.warmup_steps) * (self.final_factor + (1 - self.final_factor) * decayed)


@dataclass(frozen=True)
class Linear(Constant):
    """Warm-up, then a straight line down to `final_factor` at the last step."""

    final_factor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_final_factor(self.final_factor)

    def factor(self, step: int, total_steps: int) -> float:
        done = _progress(step, self.warmup_steps, total_steps)
        return _warmup(step, self.warmup_steps) * (1 - (1 - self.final_factor) * done)


def adopt_settings(checkpoint: dict[str, Any], settings: dict[str, Any]) -> None:
    """Put settings of an optimizer (its `defaults`) in the place of those that its state in a checkpoint brings along.

    Lightning restores the whole state, and with it the old learning rate. Equal settings change nothing.
    """
    groups = [group for state in checkpoint.get("optimizer_states", []) for group in state["param_groups"]]
    for group in groups:
        base = group.get("initial_lr", group["lr"])
        factor = group["lr"] / base if base else 1.0  # of the schedule, at this step
        now = group["lr"] if settings["lr"] == base else settings["lr"] * factor
        group.update({name: value for name, value in settings.items() if name in group}, lr=now)
        if "initial_lr" in group:
            group["initial_lr"] = settings["lr"]
    for state in checkpoint.get("lr_schedulers", []):
        if "base_lrs" in state:
            state["base_lrs"] = [settings["lr"]] * len(state["base_lrs"])


def adopt_layout(checkpoint: dict[str, Any], optimizer: Optimizer) -> None:
    """Lay out the optimizer's state in a checkpoint in memory as its parameters are (channels last or not).

    torch's fused kernels go through both in the order of memory and would mix up the channels.
    """
    for saved in checkpoint.get("optimizer_states", []):
        numbers = [number for group in saved["param_groups"] for number in group["params"]]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=False):  # other numbers are refused by torch
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
    # the first step is already > 0: a learning rate of exactly 0 would waste it
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _progress(step: int, warmup_steps: int, total_steps: int) -> float:
    return min(1.0, max(0.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))
