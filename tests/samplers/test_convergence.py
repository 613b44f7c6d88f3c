"""Deterministic samplers against the exact solution for Gaussian data, on every schedule."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from closed_forms import GaussianData
from lightdiff.core import LogSNRGrid
from lightdiff.samplers import DDIM, DPMSolverMultistep, Heun, Sampler
from oracles import SCHEDULES, gaussian_data, noise, rms, scales, slope

STEPS = [64, 128, 256, 512]
INNER = LogSNRGrid(log_snr_min=-4.0, log_snr_max=4.0, final_zero=False)
DETERMINISTIC: dict[str, tuple[Sampler, int]] = {
    "ddim": (DDIM(grid=INNER), 1),
    "dpmpp_1": (DPMSolverMultistep(order=1, grid=INNER), 1),
    "heun": (Heun(grid=INNER), 2),
    "dpmpp_2m": (DPMSolverMultistep(grid=INNER), 2),
    "dpmpp_3m": (DPMSolverMultistep(order=3, grid=INNER), 3),
}


def errors_between_fixed_times(sampler: Sampler, data: GaussianData) -> list[float]:
    """Return the error at the end of the sampler's grid for each number of `STEPS`."""
    errors = []
    for num_steps in STEPS:
        grid = sampler.times(data.schedule, num_steps)
        first, last = grid[0].item(), grid[-1].item()
        alpha, _ = scales(data.schedule, first)
        x_t = alpha * data.mean + data.spread(first) * noise()
        errors.append(rms(sampler.sample(data, x_t, num_steps) - data.flow(x_t, first, last)))
    return errors


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("name", list(DETERMINISTIC))
def test_order_between_fixed_times(name: str, schedule: str) -> None:
    sampler, order = DETERMINISTIC[name]
    errors = errors_between_fixed_times(sampler, gaussian_data(SCHEDULES[schedule]))
    # of third order, the error of the first step, which is of first order, shows at many steps
    assert slope(STEPS, errors) == pytest.approx(order, abs=0.1 if order < 3 else 0.15)


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "scaled_linear"])
def test_third_order_from_high_noise(schedule: str) -> None:
    """The first steps, which are of lower order, have next to no error where x0_hat hardly changes.

    The noise of scaled_linear does not reach as far.
    """
    data = gaussian_data(SCHEDULES[schedule])
    sampler = DPMSolverMultistep(order=3, grid=LogSNRGrid(log_snr_min=-8.0, log_snr_max=4.0, final_zero=False))
    assert slope(STEPS, errors_between_fixed_times(sampler, data)) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("name", list(DETERMINISTIC))
def test_error_falls_on_the_default_grid_down_to_0(name: str, schedule: str) -> None:
    """Start from x_T = prior_std * noise as in use, also at alpha = 0. The last step, to t = 0, is of first order."""
    sampler = replace(DETERMINISTIC[name][0], grid=None)
    data = gaussian_data(SCHEDULES[schedule])
    x_T = data.schedule.prior_std * noise()
    exact = data.flow(x_T, 1.0, 0.0)
    errors = [rms(sampler.sample(data, x_T, num_steps) - exact) for num_steps in (10, 20, 50, 100, 200)]
    assert all(late < early for early, late in itertools.pairwise(errors)), errors
    assert errors[-1] < 0.03
    assert errors[-1] < errors[0] / 6


def test_ends_at_0_on_every_default_grid() -> None:
    """With a constant x0_hat the result is x0_hat. If the last step were left out, noise would remain."""
    for schedule in SCHEDULES.values():
        data = gaussian_data(schedule)
        data.std = data.std * 0
        for sampler in (DDIM(), DDIM(eta=1.0), Heun(), DPMSolverMultistep(), DPMSolverMultistep(order=3)):
            for num_steps in (1, 2, 7):
                x0 = sampler.sample(data, schedule.prior_std * noise(), num_steps)
                torch.testing.assert_close(x0, data.mean.expand_as(x0), rtol=0, atol=1e-9)
