"""The sampler of consistency models: one step, the distribution after each step, and the step's formula."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from closed_forms import GaussianData
from lightdiff.core import keyed_generator
from lightdiff.samplers import Renoise
from oracles import SCHEDULES, ConsistencyFunction, gaussian_data, gaussian_flow_map, noise, scales, times


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_one_step_returns_x0_hat(schedule: str) -> None:
    data = gaussian_data(SCHEDULES[schedule])
    x_T = data.schedule.prior_std * noise()
    x = Renoise().sample(data, x_T, 1, generator=keyed_generator("cpu", 0))
    assert torch.equal(x, data(x_T, times(1.0).expand(4)))


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_a_step_is_its_formula(schedule: str) -> None:
    x_t, x0_hat, z = noise(seed=1), noise(seed=2), noise(seed=3)
    alpha, sigma = scales(SCHEDULES[schedule], 0.4)
    generator = torch.Generator().manual_seed(3)
    x_s = Renoise().step(SCHEDULES[schedule], x_t, x0_hat, times(*[0.7] * 4), times(*[0.4] * 4), generator)
    torch.testing.assert_close(x_s, alpha * x0_hat + sigma * z, rtol=0, atol=1e-12)


@pytest.mark.parametrize("point", [True, False], ids=["point mass", "gaussian"])
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_distribution_after_each_step_is_that_of_the_noisy_images(schedule: str, point: bool) -> None:
    """For a point mass the posterior mean is enough; for Gaussian data the exact consistency function is needed."""
    flow_map = gaussian_flow_map(SCHEDULES[schedule])
    flow_map.std = flow_map.std * (0 if point else 1)
    denoiser = GaussianData(flow_map.schedule, flow_map.mean, flow_map.std) if point else ConsistencyFunction(flow_map)
    count, generator = 20_000, keyed_generator("cpu", schedule)
    alpha, _ = scales(flow_map.schedule, 1.0)
    z = torch.randn(count, 1, 2, 3, generator=generator, dtype=torch.float64)
    x_T = alpha * flow_map.mean + flow_map.spread(1.0) * z
    aways = []
    for state in Renoise().trajectory(denoiser, x_T, 4, generator=generator):
        alpha, _ = scales(flow_map.schedule, state.t)
        spread = flow_map.spread(state.t).squeeze(0)
        away = state.x_t - alpha * flow_map.mean
        # five standard errors of mean and variance
        assert (away.mean(0).abs() <= 5 * spread / count**0.5 + 1e-12).all()
        assert ((away.square().mean(0) - spread**2).abs() <= 5 * spread**2 * (2 / count) ** 0.5 + 1e-12).all()
        aways.append(away.flatten())
    if point:
        # the noise of each step is new; at t = 0 there is none
        for one, two in pairwise(aways[:-1]):
            assert torch.corrcoef(torch.stack([one, two]))[0, 1].abs() < 5 / len(one) ** 0.5
