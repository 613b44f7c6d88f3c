"""The best denoiser of a finite set of images, against brute force, at both ends, and through every sampler."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightdiff.core import ExactDenoiser, FlowSchedule, NoiseSchedule, keyed_generator
from lightdiff.samplers import SAMPLERS
from oracles import SCHEDULES, scales, times


def drawn(count: int, *key: str) -> Tensor:
    return torch.randn(count, 2, 3, 2, generator=keyed_generator("cpu", *key), dtype=torch.float64)


IMAGES = drawn(5, "images")


def brute_force(x: Tensor, schedule: NoiseSchedule, t: float) -> Tensor:
    """Return E[x0 | x_t = x] for one image x (C, H, W), summed number by number in Python."""
    alpha, sigma = scales(schedule, t)
    logs = [
        -sum((a - alpha * b) ** 2 for a, b in zip(x.flatten().tolist(), image.flatten().tolist(), strict=True))
        / (2 * sigma**2)
        for image in IMAGES
    ]
    weights = [math.exp(log - max(logs)) for log in logs]
    return sum(weight * image for weight, image in zip(weights, IMAGES, strict=True)) / sum(weights)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_it_is_the_mean_over_all_images(schedule: str) -> None:
    t = times(0.05, 0.3, 0.5, 0.8, 1.0)
    x_t = SCHEDULES[schedule].add_noise(IMAGES, drawn(5, "noise"), t)
    x0_hat = ExactDenoiser(IMAGES, SCHEDULES[schedule])(x_t, t)
    expected = torch.stack([brute_force(x, SCHEDULES[schedule], each) for x, each in zip(x_t, t.tolist(), strict=True)])
    torch.testing.assert_close(x0_hat, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_at_sigma_0_it_is_the_image(schedule: str) -> None:
    denoiser = ExactDenoiser(IMAGES, SCHEDULES[schedule])
    t = torch.zeros(5, dtype=torch.float64)
    torch.testing.assert_close(denoiser(IMAGES, t), IMAGES, rtol=0, atol=1e-14)
    torch.testing.assert_close(denoiser(IMAGES + 0.01, t), IMAGES, rtol=0, atol=1e-14)
    # twice the same image makes no difference
    twice = ExactDenoiser(torch.cat([IMAGES, IMAGES[:2]]), SCHEDULES[schedule])
    torch.testing.assert_close(twice(IMAGES, t), IMAGES, rtol=0, atol=1e-14)


@pytest.mark.parametrize("schedule", ["flow", "linear_zero_snr"])
def test_at_alpha_0_it_is_the_mean_of_all_images(schedule: str) -> None:
    x0_hat = ExactDenoiser(IMAGES, SCHEDULES[schedule])(100 * drawn(4, "noise"), times(*[1.0] * 4))
    torch.testing.assert_close(x0_hat, IMAGES.mean(0).expand(4, -1, -1, -1), rtol=0, atol=1e-13)


def test_float32_images_lose_nothing_on_the_way() -> None:
    """At small noise, float32 would take an image for its neighbour: their distance is small and their squares are large."""
    images = (1000 + 0.01 * drawn(5, "close")).float()
    denoiser = ExactDenoiser(images, FlowSchedule())
    x0_hat = denoiser(images, torch.full((5,), 1e-6))
    assert x0_hat.dtype == torch.float32
    assert torch.equal(denoiser(images, torch.zeros(5)), images)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_samplers_that_start_from_noise_end_at_the_images(name: str, schedule: str) -> None:
    denoiser = ExactDenoiser(IMAGES, SCHEDULES[schedule])
    generator = keyed_generator("cpu", name)
    x_T = denoiser.schedule.prior_std * torch.randn(64, 2, 3, 2, generator=generator, dtype=torch.float64)
    x = SAMPLERS[name]().sample(denoiser, x_T, 60, generator=generator)
    away = (x[:, None] - IMAGES).abs().amax((2, 3, 4))
    assert (away.amin(1) < 1e-6).all()
    # every image is found, except by the sampler that is not made for the mean of images
    assert name == "renoise" or len(away.argmin(1).unique()) == len(IMAGES)


@pytest.mark.parametrize(
    "images", [torch.zeros(0, 1, 2, 2), torch.zeros(1, 2, 2), torch.zeros(3, 1, 2, 2, dtype=torch.uint8)]
)
def test_other_images_are_refused_in_one_line(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images=torch.* are expected") as caught:
        ExactDenoiser(images, FlowSchedule())
    assert "\n" not in str(caught.value)
