"""The sampler of the experiment text_to_digit: DDPM with the variance of the posterior at 50 leading timesteps of 1,000."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightdiff.config.instantiate import instantiate
from lightdiff.core import DiscreteSchedule
from lightdiff.samplers import Sampler
from needs import needs
from runs import composed


class Guess:
    """A denoiser that takes a share of x_t for the noise."""

    value_range = (-1.0, 1.0)

    def __init__(self, schedule: DiscreteSchedule) -> None:
        self.schedule = schedule

    @staticmethod
    def noise(x_t: Tensor) -> Tensor:
        return 0.9 * x_t + 0.05

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        alpha, sigma = self.schedule.alpha(t[0]), self.schedule.sigma(t[0])
        return (x_t - sigma * self.noise(x_t)) / alpha


@pytest.fixture(scope="module")
def experiment() -> tuple[Sampler, int, DiscreteSchedule]:
    config = composed("experiment=text_to_digit")
    num_steps = config["sampler"].pop("num_steps")
    schedule = instantiate(config["schedule"], key="schedule")
    return instantiate(config["sampler"], key="sampler"), num_steps, schedule


def drawn(experiment: tuple[Sampler, int, DiscreteSchedule], x_T: Tensor) -> Tensor:
    sampler, num_steps, schedule = experiment
    generator = torch.Generator().manual_seed(1)
    return sampler.sample(Guess(schedule), x_T, num_steps, generator=generator)


def formula(x: Tensor, alphas_cumprod: Tensor, guess: Callable[[Tensor], Tensor]) -> Tensor:
    """Ho et al. 2020, eq. 7, from timestep 980 to 960, ..., 20 to 0, and from 0 to the image; x0_hat is clipped first."""
    generator = torch.Generator().manual_seed(1)
    for k in range(980, -1, -20):
        at, before = alphas_cumprod[k], alphas_cumprod[k - 20] if k else torch.tensor(1.0, dtype=torch.float64)
        beta = 1 - at / before
        x0_hat = ((x - (1 - at).sqrt() * guess(x)) / at.sqrt()).clamp(-1, 1)
        mean = before.sqrt() * beta / (1 - at) * x0_hat + (at / before).sqrt() * (1 - before) / (1 - at) * x
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = mean + ((1 - before) / (1 - at) * beta).sqrt() * noise
    return x


def test_they_are_the_formulas_of_ddpm(experiment: tuple[Sampler, int, DiscreteSchedule]) -> None:
    x_T = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = torch.cos((torch.arange(1001, dtype=torch.float64) / 1000 + 0.008) / 1.008 * torch.pi / 2) ** 2
    alphas_cumprod = torch.cumprod(1 - (1 - f[1:] / f[:-1]).clamp(max=0.999), dim=0)
    torch.testing.assert_close(drawn(experiment, x_T), formula(x_T, alphas_cumprod, Guess.noise))


@needs("diffusers")
def test_they_are_those_of_diffusers(experiment: tuple[Sampler, int, DiscreteSchedule]) -> None:
    from diffusers import DDPMScheduler

    x = x_T = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", num_train_timesteps=1000)
    scheduler.set_timesteps(50)
    generator = torch.Generator().manual_seed(1)
    for timestep in scheduler.timesteps:
        x = scheduler.step(Guess.noise(x), timestep, x, generator=generator).prev_sample
    torch.testing.assert_close(drawn(experiment, x_T), x, rtol=1e-3, atol=1e-3)
