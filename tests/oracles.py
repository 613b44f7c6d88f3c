"""The schedules of conf/ and Gaussian data for tests; the closed forms themselves are in bench/closed_forms.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from closed_forms import GaussianData, GaussianFlowMap, rms, scales, slope, times
from lightdiff.conditioning.base import Conditioner
from lightdiff.core import (
    Condition,
    Denoiser,
    DiscreteSchedule,
    EDMSchedule,
    FlowSchedule,
    NoiseSchedule,
    X0Prediction,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    sigmoid_betas,
)

__all__ = [
    "DISCRETE",
    "SCHEDULES",
    "ConsistencyFunction",
    "GaussianDenoiser",
    "gaussian_data",
    "gaussian_flow_map",
    "noise",
    "rms",
    "scales",
    "slope",
    "times",
]

SCHEDULES: dict[str, NoiseSchedule] = {
    "linear": DiscreteSchedule(linear_betas(1000)),
    "scaled_linear": DiscreteSchedule(scaled_linear_betas(1000, 8.5e-4, 0.012)),
    "cosine": DiscreteSchedule(cosine_betas(1000)),
    "sigmoid": DiscreteSchedule(sigmoid_betas(1000)),
    "linear_200_rescaled": DiscreteSchedule(linear_betas(200, rescale=True)),
    "linear_zero_snr": DiscreteSchedule(linear_betas(1000), zero_terminal_snr=True),
    "flow": FlowSchedule(),
    "edm": EDMSchedule(),
}
DISCRETE = [name for name, schedule in SCHEDULES.items() if isinstance(schedule, DiscreteSchedule)]


def gaussian_data(schedule: NoiseSchedule) -> GaussianData:
    generator = torch.Generator().manual_seed(1)
    mean = torch.rand(1, 1, 2, 3, generator=generator, dtype=torch.float64) - 0.5
    std = 0.1 + 0.5 * torch.rand(1, 1, 2, 3, generator=generator, dtype=torch.float64)
    return GaussianData(schedule, mean, std)


def gaussian_flow_map(schedule: NoiseSchedule) -> GaussianFlowMap:
    data = gaussian_data(schedule)
    return GaussianFlowMap(schedule, data.mean, data.std)


class GaussianDenoiser(Denoiser):
    """The best denoiser of such images as a module. A condition is added to its x0_hat, as is its one weight, which is 0."""

    def __init__(self, schedule: NoiseSchedule, conditioner: Conditioner | None = None) -> None:
        super().__init__(nn.Identity(), schedule, X0Prediction(), conditioner)
        self.data = gaussian_data(schedule)
        self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        added = 0 if cond is None else cond["vector"][:, :, None, None]
        return self.data(x_t, t) + added + self.shift


def noise(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class ConsistencyFunction:
    """The exact consistency function of Gaussian data, f(x_t, t): the x0_hat of the jump from t to 0."""

    def __init__(self, flow_map: GaussianFlowMap) -> None:
        self.flow_map, self.schedule = flow_map, flow_map.schedule

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        return self.flow_map(x_t, t, s=0 * t)
