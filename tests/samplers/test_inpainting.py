"""Inpainting with repeated steps: against the exact conditional distribution, and its rules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightdiff.core import BlockGenerator, NoiseSchedule, UniformNoise, keyed_generator
from lightdiff.samplers import DDIM, DDPM, Heun, Sampler, inpaint, inpaint_trajectory
from oracles import SCHEDULES, gaussian_data, noise, scales

MASK = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
KNOWN = 0.9


class TwoPixels:
    """The best denoiser of two correlated Gaussian pixels, or of a mixture of two such distributions.

    Images are (B, 1, 1, 2). The posterior of a component k, given x_t, is Gaussian with the mean
    mean_k + alpha S (alpha^2 S + sigma^2)^-1 (x_t - alpha mean_k).
    """

    value_range = (-1.0, 1.0)

    def __init__(self, schedule: NoiseSchedule, means: list[list[float]], covariance: list[list[float]]) -> None:
        self.schedule = schedule
        self.means = torch.tensor(means, dtype=torch.float64)
        self.covariance = torch.tensor(covariance, dtype=torch.float64)

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        alpha, sigma = self.schedule.alpha(t[:1]).double(), self.schedule.sigma(t[:1]).double()
        inverse = torch.linalg.inv(alpha**2 * self.covariance + sigma**2 * torch.eye(2, dtype=torch.float64))
        away = x_t.flatten(1)[:, None] - alpha * self.means
        weights = torch.softmax(-0.5 * torch.einsum("bki,ij,bkj->bk", away, inverse, away), dim=1)
        x0_hats = self.means + alpha * away @ inverse @ self.covariance
        return (weights[..., None] * x0_hats).sum(1).reshape(x_t.shape)

    def conditional_moments(self, known: float) -> tuple[float, float]:
        """Return the mean and the variance of the second pixel given the first."""
        (s00, s01), (_, s11) = self.covariance.tolist()
        weights = torch.softmax(-0.5 * (known - self.means[:, 0]) ** 2 / s00, dim=0)
        means = self.means[:, 1] + s01 / s00 * (known - self.means[:, 0])
        mean = (weights * means).sum()
        return mean.item(), (s11 - s01**2 / s00 + (weights * (means - mean) ** 2).sum()).item()


DATA = {
    "gaussian": ([[0.1, -0.2]], [[0.25, 0.2], [0.2, 0.25]]),
    "mixture": ([[0.5, 0.6], [-0.5, -0.6]], [[0.2, 0.08], [0.08, 0.1]]),
}


def moments_error(sampler: Sampler, data: TwoPixels, num_steps: int, resamples: int) -> tuple[float, float]:
    """Return how far the mean and the variance of 1500 filled pixels are from the exact ones."""
    images = torch.tensor([KNOWN, 0.0], dtype=torch.float64).expand(1500, 1, 1, 2)
    generator = keyed_generator("cpu", 1)
    filled = inpaint(sampler, data, images, MASK, num_steps, generator=generator, resamples=resamples)
    assert torch.equal(filled[..., 0], images[..., 0])
    mean, variance = data.conditional_moments(KNOWN)
    return abs(filled[..., 1].mean().item() - mean), abs(filled[..., 1].var().item() - variance)


@pytest.mark.parametrize("sampler", [DDIM(), DDPM()], ids=["ddim", "ddpm"])
@pytest.mark.parametrize("name", list(DATA))
def test_resamples_lead_to_the_exact_conditional(name: str, sampler: Sampler) -> None:
    data = TwoPixels(SCHEDULES["flow"], *DATA[name])
    once, five = (moments_error(sampler, data, 20, resamples) for resamples in (1, 5))
    assert sum(five) < 0.45 * sum(once)
    # more steps alone do not help
    assert sum(moments_error(sampler, data, 80, 1)) > 0.8 * sum(once)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [DDIM(), DDPM()], ids=["ddim", "ddpm"])
@pytest.mark.parametrize("name", list(DATA))
def test_many_steps_and_resamples_reach_the_exact_conditional(name: str, sampler: Sampler) -> None:
    data = TwoPixels(SCHEDULES["flow"], *DATA[name])
    mean, variance = moments_error(sampler, data, 80, 25)
    assert mean < 0.04 and variance < 0.025


@pytest.mark.parametrize("sampler", [DDIM(), DDPM(), Heun()], ids=["ddim", "ddpm", "heun"])
def test_results_do_not_depend_on_the_batch(sampler: Sampler) -> None:
    data = gaussian_data(SCHEDULES["flow"])
    images = data.mean + data.std * noise(20, seed=3)
    mask = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)

    def filled(first: int, count: int) -> Tensor:
        generator = BlockGenerator(7, first, count, "cpu")
        return inpaint(sampler, data, images[first : first + count], mask, 4, generator=generator, resamples=3)

    together = filled(0, 20)
    assert torch.equal(together, torch.cat([filled(0, 3), filled(3, 14), filled(17, 3)]))
    assert torch.equal(together[..., mask == 0], images[..., mask == 0])


def test_the_trajectory_has_a_state_for_each_time() -> None:
    data = gaussian_data(SCHEDULES["cosine"])
    images, mask = data.mean + data.std * noise(seed=3), torch.ones(2, 3, dtype=torch.float64)
    for resamples in (1, 4):
        generator = keyed_generator("cpu", 1)
        states = list(inpaint_trajectory(DDPM(), data, images, mask, 5, generator=generator, resamples=resamples))
        assert [state.t for state in states] == DDPM().times(data.schedule, 5).tolist()
        again = inpaint(DDPM(), data, images, mask, 5, generator=keyed_generator("cpu", 1), resamples=resamples)
        assert torch.equal(states[-1].x_t, again)


@pytest.mark.parametrize("schedule", ["cosine", "flow", "edm", "linear_zero_snr"])
def test_noise_back_is_that_of_the_forward_process(schedule: str) -> None:
    """For images that are all alike, every x_t of the process is alpha_t x0 + sigma_t z, however often it went back."""
    data = gaussian_data(SCHEDULES[schedule])
    data.std = data.std * 0
    images, mask = data.mean.expand(4000, -1, -1, -1), torch.ones(2, 3, dtype=torch.float64)
    for state in inpaint_trajectory(DDIM(), data, images, mask, 4, generator=keyed_generator("cpu", 1), resamples=3):
        alpha, sigma = scales(data.schedule, state.t)
        standardised = (state.x_t - alpha * data.mean) / max(sigma, 1e-9)
        assert standardised.mean().abs() < 0.02
        assert sigma == 0 or standardised.std().item() == pytest.approx(1, abs=0.02)


def test_what_cannot_be_repeated_is_refused() -> None:
    data = gaussian_data(SCHEDULES["cosine"])
    images, mask = noise(), torch.ones(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="resamples=0: a whole number, 1 or more, is expected"):
        inpaint(DDIM(), data, images, mask, 2, resamples=0)
    with pytest.raises(
        ValueError, match="resamples=2: it adds Gaussian noise, but this model was trained with UniformNoise"
    ):
        inpaint(DDIM(), data, images, mask, 2, noise=UniformNoise(), resamples=2)
    inpaint(DDIM(), data, images, mask, 2, noise=UniformNoise())
