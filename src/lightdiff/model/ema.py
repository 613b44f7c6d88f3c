"""Exponential moving average of weights: ema <- d ema + (1 - d) weights, once per optimizer step.

The average is kept apart from the live weights and saved beside them, so that nothing is swapped in and out and training can
never run on averages. A few fused calls update all tensors without waiting for the device.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """Moving average of the parameters and buffers of a module; it is never trained itself.

    The decay warms up as min(decay, (1 + n) / (10 + n)) with n the number of updates so far, so that the random initial
    weights are forgotten quickly and short runs have a useful average.

    Args:
        module: the live module; it is copied, not kept.
        decay: final decay, in [0, 1).

    Raises:
        ValueError: `decay` is not in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay={decay}: a number in [0, 1) or null (no average) is expected")
        super().__init__()
        self.decay = decay
        self.num_updates = 0
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average one step towards the weights of `module`; copy integer buffers."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        averages, targets = [], []
        for average, live in zip(_tensors(self.module), _tensors(module), strict=True):
            if average.is_floating_point():
                averages.append(average)
                targets.append(live.detach())
            else:
                average.copy_(live)
        torch._foreach_lerp_(averages, targets, weight=1 - decay)

    def get_extra_state(self) -> dict[str, Any]:
        return {"num_updates": self.num_updates}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.num_updates = int(state["num_updates"])


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
