"""Training by each rule brings a small network to the exact flow map of Gaussian pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from closed_forms import GaussianFlowMap
from lightdiff.core import (
    MSE,
    Denoiser,
    DiscreteRule,
    FlowMapObjective,
    FlowPrediction,
    FlowSchedule,
    JumpRule,
    MeanFlowRule,
    ShortcutRule,
    keyed_generator,
)
from lightdiff.samplers import DDIM
from oracles import rms


class Small(nn.Module):
    """A multilayer perceptron of one pixel and both times."""

    takes_s = True

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor, time: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        t, s, pixel = time[:, None] / 1000, (time if s is None else s)[:, None] / 1000, x.flatten(1)
        return self.layers(torch.cat([pixel, t, s, pixel * t, pixel * s], 1)).reshape(x.shape)


ORDINARY_ERROR = 0.39
"""Error of one step with the best denoiser, E[x0 | x_t], for the data of `trained_errors`."""


def trained_errors(rule: JumpRule, steps: int) -> list[float]:
    """Train a network on single pixels, N(0.3, 0.4^2); return the errors of DDIM with 1, 2 and 4 steps against the exact flow."""
    torch.manual_seed(0)
    schedule, generator = FlowSchedule(), keyed_generator("cpu", "pixels")
    denoiser = Denoiser(Small(), schedule, FlowPrediction())
    data = GaussianFlowMap(schedule, torch.full((1, 1, 1, 1), 0.3), torch.full((1, 1, 1, 1), 0.4))
    objective = FlowMapObjective(rule, distance=MSE())
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.01)
    lr_scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        x0 = data.mean + data.std * torch.randn(256, 1, 1, 1, generator=generator)
        draw = objective.draw(x0.shape, schedule, generator)
        optimizer.zero_grad()
        objective.losses(denoiser, denoiser, x0, draw, progress=step / steps).mean().backward()
        optimizer.step()
        lr_scheduler.step()
    x_T = torch.randn(1000, 1, 1, 1, generator=keyed_generator("cpu", "x_T"))
    with torch.no_grad():
        return [rms(DDIM().sample(denoiser, x_T, n) - data.flow(x_T, 1.0, 0.0)) for n in (1, 2, 4)]


TRAINED = {"discrete": DiscreteRule((0.0, 0.5, 0.75, 0.875)), "shortcut": ShortcutRule(), "mean_flow": MeanFlowRule()}


@pytest.mark.parametrize("rule", TRAINED)
def test_training_goes_towards_the_exact_map(rule: str) -> None:
    """The data alone teach it: the direction is the image, as in ordinary training."""
    steps = {"discrete": 150, "shortcut": 100, "mean_flow": 60}[rule]
    untrained, trained = trained_errors(TRAINED[rule], 0), trained_errors(TRAINED[rule], steps)
    assert min(untrained) > ORDINARY_ERROR
    assert all(after < before / 3 for before, after in zip(untrained, trained, strict=True))
    assert trained[0] < 0.6 * ORDINARY_ERROR


@pytest.mark.slow
@pytest.mark.parametrize("rule", TRAINED)
def test_longer_training_comes_close_to_the_exact_map(rule: str) -> None:
    """Errors found: 0.065, 0.056, 0.023 by discrete, 0.042, 0.025, 0.013 by shortcut, 0.010, 0.010, 0.008 by mean_flow."""
    one, two, four = trained_errors(TRAINED[rule], 1500)
    assert one < 0.1 and two < 0.08 and four < 0.04
