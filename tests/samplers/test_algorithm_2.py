"""Heun with churn against algorithm 2 of EDM (Karras et al. 2022, arXiv:2206.00364), written here from the paper in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightdiff.core import EDMSchedule
from lightdiff.samplers import Heun
from oracles import gaussian_data

RHO, SIGMA_MIN, SIGMA_MAX = 7.0, 0.002, 80.0


def algorithm_2(
    x: Tensor,
    mean: Tensor,
    std: Tensor,
    n: int,
    s_churn: float,
    s_tmin: float,
    s_tmax: float,
    s_noise: float,
    seed: int,
) -> Tensor:
    """Sample N(mean, std^2), of which D(x; sigma) is the best denoiser, starting from x at sigma = 80."""

    def d(x: Tensor, sigma: float) -> Tensor:
        denoised = (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)
        return (x - denoised) / sigma

    generator = torch.Generator().manual_seed(seed)
    start, end = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    levels = [(start + i / (n - 1) * (end - start)) ** RHO for i in range(n)] + [0.0]
    for i in range(n):
        gamma = min(s_churn / n, math.sqrt(2) - 1) if s_tmin <= levels[i] <= s_tmax else 0.0
        sigma = levels[i] * (1 + gamma)
        if gamma > 0:
            noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            x = x + math.sqrt(sigma**2 - levels[i] ** 2) * s_noise * noise
        slope = d(x, sigma)
        x_next = x + (levels[i + 1] - sigma) * slope
        if levels[i + 1] != 0:
            x_next = x + (levels[i + 1] - sigma) * (slope + d(x_next, levels[i + 1])) / 2
        x = x_next
    return x


@pytest.mark.parametrize(
    ("n", "s_churn", "s_tmin", "s_tmax", "s_noise"),
    [
        (18, 0.0, 0.0, math.inf, 1.0),
        (18, 7.0, 0.0, math.inf, 1.0),
        (18, 40.0, 0.0, math.inf, 1.003),
        (40, 40.0, 0.05, 50.0, 1.003),
        (256, 40.0, 0.05, 50.0, 1.003),
    ],
)
def test_heun_is_algorithm_2(n: int, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float) -> None:
    data = gaussian_data(EDMSchedule(SIGMA_MIN, SIGMA_MAX))
    x_T = SIGMA_MAX * torch.randn(5, 1, 2, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    exact = algorithm_2(x_T, data.mean, data.std, n, s_churn, s_tmin, s_tmax, s_noise, seed=3)
    sampler = Heun(s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise)
    x = sampler.sample(data, x_T, n, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(x, exact, rtol=0, atol=1e-10)
