"""Times, predictions and a small network for the tests of consistency training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from closed_forms import GaussianData
from lightdiff.core import (
    ConsistencyObjective,
    Draw,
    EDMPrediction,
    EpsilonPrediction,
    FlowPrediction,
    Scales,
    VPrediction,
    X0Prediction,
)
from oracles import times

T = times(0.1, 0.4, 0.75, 1.0)
PREDICTIONS = {
    "epsilon": EpsilonPrediction(),
    "x0": X0Prediction(),
    "v": VPrediction(),
    "flow": FlowPrediction(),
    "edm": EDMPrediction(0.3),
}
KEEPING = [name for name in PREDICTIONS if name != "x0"]


class Curve(nn.Module):
    """A small network in float64: tanh(a x + b time / 500 + c)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(times(value)) for value in (0.7, 0.4, -0.2))

    def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
        return torch.tanh(self.a * x + self.b * time[:, None, None, None].to(x.dtype) / 500 + self.c)


class Kept(ConsistencyObjective):
    """Keeps the target of the last losses; a small step goes towards `towards(x_t, t)` where that is given."""

    towards: GaussianData | None = None

    def direction(self, x0: Tensor, x_t: Tensor, draw: Draw, at_t: Scales) -> Tensor:
        return x0 if self.towards is None else self.towards(x_t, draw.t)

    def compared(self, denoiser: Any, x0_hat: Tensor, target: Tensor, *others: Any) -> Tensor:
        self.target = target
        return super().compared(denoiser, x0_hat, target, *others)
