"""How far the samples of each method are from the posterior, for Gaussian images, whose posterior given a measurement is known.

The images have 2 x 4 pixels, which are correlated: the standard deviations along the axes of the covariance go from 0.1 to 0.8.
Measured are the means of the two squares, with a little noise. The flow schedule is used; the denoiser is the best one.

    python bench/gaussian_posterior.py        # the table of docs/inverse.md; half a minute on a core
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from lightdiff.core import FlowSchedule, NoiseSchedule
from lightdiff.inverse import DPS, DiffPIR, LinearOperator, Measurement, MomentMatching, PiGDM, SuperResolution
from lightdiff.samplers import DDIM, DDPM, Renoise, Sampler

SHAPE = (1, 2, 4)
SIZE = 8
STD = 0.6
"""`data_std` of the methods, and the standard deviation of white images."""
NOISE_STD = 0.2
EXACT = partial(MomentMatching, iterations=SIZE, data_std=STD, smallest_ratio=0.0)
"""With as many iterations as there are pixels, conjugate gradients are exact."""
BIASED: dict[str, tuple[Callable[..., Measurement], Sampler]] = {
    "moment matching, ddim": (EXACT, DDIM()),
    "moment matching, ddpm": (EXACT, DDPM()),
    "PiGDM, ddim": (partial(PiGDM, data_std=STD), DDIM()),
    "PiGDM, ddpm": (partial(PiGDM, data_std=STD), DDPM()),
    "DPS, ddim": (partial(DPS, data_std=STD), DDIM()),
    "DPS, ddpm": (partial(DPS, data_std=STD), DDPM()),
    "DiffPIR, ddim": (DiffPIR, DDIM()),
    "DiffPIR, ddpm": (DiffPIR, DDPM()),
    "DiffPIR, renoise": (DiffPIR, Renoise()),
}
"""Rows of the table."""


class GaussianImages:
    """Images (1, 2, 4) from N(mean, cov), and E[x0 | x_t] = mean + alpha S (alpha^2 S + sigma^2 I)^-1 (x_t - alpha mean)."""

    value_range = None

    def __init__(self, schedule: NoiseSchedule, mean: Tensor, cov: Tensor) -> None:
        self.schedule, self.mean, self.cov = schedule, mean, cov

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        scales = self.schedule.exact(t[:1])
        alpha, sigma = scales.alpha, scales.sigma
        gain = alpha * self.cov @ torch.linalg.inv(alpha**2 * self.cov + sigma**2 * torch.eye(SIZE).double())
        return (self.mean + (x_t.flatten(1) - alpha * self.mean) @ gain.T).reshape(x_t.shape)

    def posterior(self, operator: LinearOperator, y: Tensor, noise_std: float) -> tuple[Tensor, Tensor]:
        """Return mean (8,) and covariance (8, 8) of x0 given y (1, ...)."""
        matrix = operator(torch.eye(SIZE).double().reshape(SIZE, *SHAPE)).flatten(1).T
        gram = matrix @ self.cov @ matrix.T + noise_std**2 * torch.eye(len(matrix)).double()
        gain = self.cov @ matrix.T @ torch.linalg.inv(gram)
        return self.mean + gain @ (y.flatten() - matrix @ self.mean), self.cov - gain @ matrix @ self.cov


def correlated(schedule: NoiseSchedule) -> GaussianImages:
    """Images whose standard deviations along the axes of the covariance go from 0.1 to 0.8."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)).Q
    variances = torch.linspace(0.1, 0.8, SIZE).double().square()
    mean = torch.rand(SIZE, generator=generator, dtype=torch.float64) - 0.5
    return GaussianImages(schedule, mean, axes @ variances.diag() @ axes.T)


def white(schedule: NoiseSchedule, std: float) -> GaussianImages:
    """Images of independent pixels with the same standard deviation."""
    data = correlated(schedule)
    return GaussianImages(schedule, data.mean, std**2 * torch.eye(SIZE).double())


def moments_of_affine(sampler: Sampler, denoiser: object, num_steps: int) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of the samples of a sampler without added noise, exactly, where its x0_hat is affine in x_t.

    The sampler is then an affine map of x_T, which its values at 0 and at the unit vectors determine.
    """
    std = denoiser.schedule.prior_std  # type: ignore[attr-defined]
    points = torch.cat([torch.zeros(1, SIZE), torch.eye(SIZE)]).double().reshape(-1, *SHAPE)
    ends = sampler.sample(denoiser, std * points, num_steps).flatten(1)  # type: ignore[arg-type]
    linear = ends[1:] - ends[0]
    return ends[0], linear.T @ linear


def moments_of_samples(sampler: Sampler, denoiser: object, num_steps: int, count: int) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of `count` samples."""
    generator = torch.Generator().manual_seed(2)
    x_T = denoiser.schedule.prior_std * torch.randn(count, *SHAPE, generator=generator, dtype=torch.float64)  # type: ignore[attr-defined]
    ends = sampler.sample(denoiser, x_T, num_steps, generator=generator).flatten(1)  # type: ignore[arg-type]
    return ends.mean(0), ends.T.cov()


def measured(data: GaussianImages, operator: LinearOperator) -> Tensor:
    """Return the measurement of an image that is far from the mean."""
    away = torch.tensor([0.9, 0.8, -0.2, -0.9, 0.6, 0.1, -0.4, -0.5], dtype=torch.float64)
    return operator((data.mean + away).reshape(1, *SHAPE))


def bias(make: Callable[..., Measurement], sampler: Sampler, num_steps: int, count: int) -> tuple[float, float]:
    """Return the largest error of a pixel's mean, and the sum of the variances over that of the posterior.

    Args:
        make: the method, called as make(denoiser, operator, measured, noise_std).
        sampler: the sampler.
        num_steps: its number of steps.
        count: number of samples.
    """
    data, operator = correlated(FlowSchedule()), SuperResolution(SHAPE, 2)
    y = measured(data, operator)
    mean, cov = moments_of_samples(sampler, make(data, operator, y, NOISE_STD), num_steps, count)
    exact_mean, exact_cov = data.posterior(operator, y, NOISE_STD)
    return (mean - exact_mean).abs().max().item(), (cov.trace() / exact_cov.trace()).item()


def rows(count: int = 10000) -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    yield "| method, sampler | 20 steps | 80 steps | 320 steps |"
    yield "|---|---|---|---|"
    for name, (make, sampler) in BIASED.items():
        cells = ["{:.3f}, {:.0%}".format(*bias(make, sampler, num_steps, count)) for num_steps in (20, 80, 320)]
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    for line in rows():
        print(line, flush=True)
