"""Samplers that add noise, tested with exactly propagated means and variances, a mixture, and the posterior of DDPM."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from lightdiff.core import LogSNRGrid, NoiseSchedule, keyed_generator
from lightdiff.samplers import DDIM, DDPM, DPMSolverMultistep, Heun, OneStepSampler
from oracles import SCHEDULES, gaussian_data, rms, scales, slope, times

INNER = LogSNRGrid(log_snr_min=-4.0, log_snr_max=4.0, final_zero=False)
STOCHASTIC: dict[str, OneStepSampler] = {
    "ddpm_small": DDPM(variance="small"),
    "ddpm_large": DDPM(variance="large"),
    "ddim_half": DDIM(eta=0.5),
    "ddim_1": DDIM(eta=1.0),
}


def affine(sampler: OneStepSampler, schedule: NoiseSchedule, t: float, s: float) -> tuple[float, float, float]:
    """Return a, b, c of x_s = a x_t + b x0_hat + c z, measured by calling `step` with 0 and 1 and the same z."""

    def step(x_t: float, x0_hat: float) -> Tensor:
        shape = (1, 1, 1, 1)
        generator = keyed_generator("cpu", "z")
        x = torch.full(shape, x_t, dtype=torch.float64)
        return sampler.step(schedule, x, torch.full_like(x, x0_hat), times(t), times(s), generator).flatten()

    z = torch.randn((1, 1, 1, 1), generator=keyed_generator("cpu", "z"), dtype=torch.float64).item()
    only_noise = step(0, 0).item()
    return step(1, 0).item() - only_noise, step(0, 1).item() - only_noise, only_noise / z


def propagated(sampler: OneStepSampler, schedule: NoiseSchedule, num_steps: int) -> float:
    """Return the error of the final mean and standard deviation for Gaussian data, with an exact start."""
    data = gaussian_data(schedule)
    grid = INNER(schedule, num_steps).tolist()
    alpha, _ = scales(schedule, grid[0])
    mean, variance = alpha * data.mean, data.spread(grid[0]) ** 2
    for t, s in itertools.pairwise(grid):
        a, b, c = affine(sampler, schedule, t, s)
        alpha_t, sigma_t = scales(schedule, t)
        gain = alpha_t * data.std**2 / ((alpha_t * data.std) ** 2 + sigma_t**2)
        x0_hat_of_mean = data.mean + gain * (mean - alpha_t * data.mean)
        mean = a * mean + b * x0_hat_of_mean
        variance = (a + b * gain) ** 2 * variance + c**2
    alpha, _ = scales(schedule, grid[-1])
    return rms(mean - alpha * data.mean) + rms(variance.sqrt() - data.spread(grid[-1]))


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("name", list(STOCHASTIC))
def test_error_of_mean_and_variance_falls_as_1_over_n(name: str, schedule: str) -> None:
    steps = [100, 200, 400]
    errors = [propagated(STOCHASTIC[name], SCHEDULES[schedule], num_steps) for num_steps in steps]
    assert slope(steps, errors) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_ddim_at_eta_1_is_ddpm_with_the_small_variance(schedule: str) -> None:
    for t, s in ((1.0, 0.95), (0.5, 0.2), (0.3, 0.0)):
        one = affine(DDIM(eta=1.0), SCHEDULES[schedule], t, s)
        two = affine(DDPM(variance="small"), SCHEDULES[schedule], t, s)
        assert one == pytest.approx(two, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "linear_zero_snr"])
def test_ddpm_is_the_posterior_of_the_paper(schedule: str) -> None:
    """Compare with Ho et al. 2020, eq. 7, computed from betas, at single timesteps."""
    table = SCHEDULES[schedule].alphas_cumprod  # type: ignore[attr-defined]
    for k in (2, 10, 500, 1000):
        bar, before = table[k - 1].item(), table[k - 2].item()
        beta = 1 - bar / before
        a, b, c = affine(DDPM(), SCHEDULES[schedule], k / 1000, (k - 1) / 1000)
        assert b == pytest.approx(before**0.5 * beta / (1 - bar), rel=1e-8)
        assert a == pytest.approx((1 - beta) ** 0.5 * (1 - before) / (1 - bar), rel=1e-8, abs=1e-12)
        assert c**2 == pytest.approx(beta * (1 - before) / (1 - bar), rel=1e-8)
        assert affine(DDPM(variance="large"), SCHEDULES[schedule], k / 1000, (k - 1) / 1000)[2] ** 2 == pytest.approx(
            beta
        )
    # the last step adds no noise
    assert affine(DDPM(variance="large"), SCHEDULES[schedule], 0.001, 0.0)[2] == 0


def test_eta_scales_the_standard_deviation_not_the_variance() -> None:
    full, half = (affine(DDIM(eta=eta), SCHEDULES["linear"], 0.6, 0.4)[2] for eta in (1.0, 0.5))
    assert half == pytest.approx(full / 2)


class Mixture:
    """The exact denoiser of two modes in 2-D, N(m_k, 0.1^2) with weights 0.3 and 0.7, as images (B, 1, 1, 2)."""

    value_range = (-2.0, 2.0)

    def __init__(self, schedule: NoiseSchedule) -> None:
        self.schedule = schedule
        self.modes = torch.tensor([[-0.8, 0.2], [0.6, -0.4]], dtype=torch.float64)
        self.weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
        self.std = 0.1

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        alpha, sigma = self.schedule.alpha(t)[0].double(), self.schedule.sigma(t)[0].double()
        x = x_t.reshape(-1, 1, 2)
        variance = (alpha * self.std) ** 2 + sigma**2
        away = x - alpha * self.modes
        share = (self.weights.log() - away.square().sum(-1) / (2 * variance)).softmax(-1)
        guesses = self.modes + alpha * self.std**2 / variance * away
        return (share[..., None] * guesses).sum(1).reshape(x_t.shape)


SAMPLERS = {
    "ddpm": (DDPM(), 400),
    "ddim_1": (DDIM(eta=1.0), 400),
    "heun": (Heun(), 100),
    "heun_churn": (Heun(s_churn=20.0), 200),
    "dpmpp_2m": (DPMSolverMultistep(), 100),
    "dpmpp_2m_sde": (DPMSolverMultistep(sde=True), 200),
}


@pytest.mark.parametrize("schedule", ["cosine", "flow", "edm"])
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_mixture_has_its_weights_and_moments(name: str, schedule: str) -> None:
    sampler, num_steps = SAMPLERS[name]
    data = Mixture(SCHEDULES[schedule])
    count = 4000
    generator = keyed_generator("cpu", name, schedule)
    x_T = data.schedule.prior_std * torch.randn(count, 1, 1, 2, generator=generator, dtype=torch.float64)
    x = sampler.sample(data, x_T, num_steps, generator=generator).reshape(count, 2)
    mode = (x[:, None] - data.modes).square().sum(-1).argmin(1)
    share = (mode == 0).double().mean().item()
    assert share == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / count) ** 0.5)
    for k in range(2):
        members = x[mode == k]
        torch.testing.assert_close(members.mean(0), data.modes[k], rtol=0, atol=0.015)
        torch.testing.assert_close(members.std(0), torch.full((2,), 0.1, dtype=torch.float64), rtol=0.1, atol=0)
