"""What is known in closed form: Gaussian data, a mixture of two, and the schedules of conf/ in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core import (
    DiscreteSchedule,
    EDMSchedule,
    FlowSchedule,
    NoiseSchedule,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    sigmoid_betas,
)

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


def times(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def scales(schedule: NoiseSchedule, t: float) -> tuple[float, float]:
    return schedule.alpha(times(t)).item(), schedule.sigma(times(t)).item()


@dataclass
class GaussianData:
    """Images whose pixels are independent, N(mean, std^2): the best denoiser and the exact probability flow are known.

    x_t ~ N(alpha mean, n^2) with n^2 = alpha^2 std^2 + sigma^2; along the flow (x_t - alpha mean) / n stays constant.
    """

    schedule: NoiseSchedule
    mean: Tensor
    std: Tensor

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        alpha, sigma = (
            scale.double()[:, None, None, None] for scale in (self.schedule.alpha(t), self.schedule.sigma(t))
        )
        gain = alpha * self.std**2 / ((alpha * self.std) ** 2 + sigma**2)
        return self.mean + gain * (x_t - alpha * self.mean)

    def spread(self, t: float) -> Tensor:
        alpha, sigma = scales(self.schedule, t)
        return ((alpha * self.std) ** 2 + sigma**2).sqrt()

    def flow(self, x_t: Tensor, t: float, s: float) -> Tensor:
        """The exact solution of the probability flow equation from x_t at t to s."""
        (alpha_t, _), (alpha_s, _) = scales(self.schedule, t), scales(self.schedule, s)
        return alpha_s * self.mean + self.spread(s) / self.spread(t) * (x_t - alpha_t * self.mean)


def gaussian_data(schedule: NoiseSchedule) -> GaussianData:
    generator = torch.Generator().manual_seed(1)
    mean = torch.rand(1, 1, 2, 3, generator=generator, dtype=torch.float64) - 0.5
    std = 0.1 + 0.5 * torch.rand(1, 1, 2, 3, generator=generator, dtype=torch.float64)
    return GaussianData(schedule, mean, std)


def noise(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


def slope(steps: list[int], errors: list[float]) -> float:
    """Order of convergence: minus the least-squares slope of log error over log steps."""
    x, y = torch.tensor(steps, dtype=torch.float64).log(), torch.tensor(errors, dtype=torch.float64).log()
    x = x - x.mean()
    return -((x * y).sum() / (x * x).sum()).item()
