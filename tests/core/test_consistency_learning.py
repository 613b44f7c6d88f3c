"""Consistency training brings a small network to the exact consistency function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightdiff.core import (
    MSE,
    ConsistencyObjective,
    DefaultTime,
    Denoiser,
    Draw,
    EDMPrediction,
    LogNormalSigmaTime,
    VPrediction,
    keyed_generator,
)
from oracles import SCHEDULES, ConsistencyFunction, gaussian_data, gaussian_flow_map, noise, rms, times


class Affine(nn.Module):
    """A tiny network that can be the exact function: a(time) x + b(time), with a and b for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.coefficients = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 12)).double()

    def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
        a, b = self.coefficients(time[:, None] / 500 - 1).view(-1, 2, 1, 2, 3).unbind(1)
        return a * x + b


CASES = {
    "flow": (VPrediction(), DefaultTime()),
    "cosine": (VPrediction(), DefaultTime()),
    # the usual times of this schedule hardly ever come to its noisy end, where one step begins
    "edm": (EDMPrediction(), LogNormalSigmaTime(-1.1, 2.0)),
}


@pytest.mark.parametrize("schedule", list(CASES))
def test_training_leads_to_the_exact_consistency_function(schedule: str) -> None:
    """After the first stage, ordinary training, one step is far from it; after the last one less than a fifth as far."""
    prediction, time_sampler = CASES[schedule]
    function, data = ConsistencyFunction(gaussian_flow_map(SCHEDULES[schedule])), gaussian_data(SCHEDULES[schedule])
    torch.manual_seed(0)
    denoiser = Denoiser(Affine(), function.schedule, prediction)
    objective = ConsistencyObjective(distance=MSE(), time_sampler=time_sampler)
    steps, generator = 480, keyed_generator("cpu", 0)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    errors = []
    for step in range(steps):
        x0 = data.mean + data.std * torch.randn(128, 1, 2, 3, generator=generator, dtype=torch.float64)
        draw = objective.draw(x0.shape, function.schedule, generator, torch.float64)
        draw = Draw(draw.t.double(), draw.noise)
        optimizer.zero_grad()
        objective.losses(denoiser, denoiser, x0, draw, progress=step / steps).mean().backward()
        optimizer.step()
        slower.step()
        if (step + 1) % (steps // 4) == 0:
            x_T, ends = function.schedule.prior_std * noise(256), times(1.0).expand(256)
            errors.append(rms((denoiser(x_T, ends) - function(x_T, ends)).detach()))
    assert errors[0] > 0.2
    assert errors[-1] < errors[0] / 5, errors
