"""What is known in closed form of Gaussian data, for benchmarks and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core import BlockGenerator, NoiseSchedule
from lightdiff.core.randomness import DrawFunction
from lightdiff.samplers import Sampler


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


class GaussianFlowMap(GaussianData):
    """The exact x0_hat of every jump from t to s for such images, with which DDIM (eta = 0) follows the flow in any steps.

        x0_hat = mean + gain (x_t - alpha_t mean),    gain = std^2 (alpha_s + k alpha_t) / (n_t (n_s + k n_t))
        k = sigma_s / sigma_t

    It is the solution for x0_hat of `flow(x_t, t, s)` = (the step of DDIM), in a form that is 0/0 nowhere but at t = s = 0, where
    k is taken as 1. At s = t it is the best denoiser.
    """

    takes_s = True

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        at_t, at_s = (self.schedule.exact(time).per_image(x_t) for time in (t, t if s is None else s))
        n_t, n_s = (((at.alpha * self.std) ** 2 + at.sigma**2).sqrt() for at in (at_t, at_s))
        k = (at_s.sigma / at_t.sigma).nan_to_num(1.0)
        gain = self.std**2 * (at_s.alpha + k * at_t.alpha) / (n_t * (n_s + k * n_t))
        return self.mean + gain * (x_t - at_t.alpha * self.mean)


class UnitDraws(BlockGenerator):
    """In place of noise, its draw number k is 1 in row k + 2 and 0 in all others."""

    def __init__(self, rows: int) -> None:
        super().__init__(0, 0, rows, "cpu")
        self.row = 2

    def draw(self, fn: DrawFunction, shape: torch.Size | tuple[int, ...]) -> Tensor:
        z = torch.zeros(shape, dtype=torch.float64)
        z[self.row] = 1
        self.row += 1
        return z


def final_moments(
    sampler: Sampler, data: GaussianData, num_steps: int, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor]:
    """Exact (mean, standard deviation) of what a sampler makes of x_T ~ N(mean, std^2), all (1, C, H, W).

    For Gaussian data the result is affine in x_T and in each draw z_k on the way (at most one a step). Its coefficients are
    read off one run in which row 0 gets nothing, row 1 gets x_T = 1, and row k + 2 gets z_k = 1.
    """
    x_T = torch.zeros(num_steps + 2, *data.mean.shape[1:], dtype=torch.float64)
    x_T[1] = 1
    x = sampler.sample(data, x_T, num_steps, generator=UnitDraws(len(x_T)))
    from_x_T, from_draws = x[1:2] - x[:1], x[2:] - x[:1]
    return x[:1] + from_x_T * mean, ((from_x_T * std) ** 2 + from_draws.square().sum(0, keepdim=True)).sqrt()


def rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """Order of convergence: minus the least-squares slope of log error over log steps."""
    x, y = torch.tensor(steps, dtype=torch.float64).log(), torch.tensor(errors, dtype=torch.float64).log()
    x = x - x.mean()
    return -((x * y).sum() / (x * x).sum()).item()
