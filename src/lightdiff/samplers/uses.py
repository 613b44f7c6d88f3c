"""Uses of a trained model beyond drawing images: encode, interpolate, image_to_image. `inpaint` has a file of its own.

Each function takes a sampler and a denoiser. All but `encode` run the sampler's own loop. Images are (B, C, H, W), with pixel
values in the denoiser's value_range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from lightdiff.core import Condition, GaussianNoise, Noise, NoiseSchedule, Scales
from lightdiff.samplers.base import DenoiserLike, Generator, Sampler, SamplerState, grid_times, times_like


def encode(
    sampler: Sampler, denoiser: DenoiserLike, images: Tensor, num_steps: int, cond: Condition | None = None
) -> Tensor:
    """Return the x_T from which DDIM with eta = 0 generates the given images.

    This is DDIM inversion (Song et al. 2021, arXiv:2010.02502, section 5.4), with an error that falls like 1 / num_steps^2. Each
    step from t to s > t inverts DDIM's step from s to t. That step needs noise_hat at the unknown x_s, which is estimated at the
    point that the noise_hat of the step before leads to.

    The result need not look like Gaussian noise. Smooth areas of an image, such as a black background, become smooth areas of
    x_T: digits on black give a standard deviation of 0.4 to 0.6 where noise has 1 (times schedule.prior_std).

    Args:
        sampler: sampler whose time grid is used. Nothing else of it is.
        denoiser: denoiser, as for `Sampler.sample`.
        images: images (B, C, H, W) in the denoiser's value_range.
        num_steps: number of steps.
        cond: condition that is passed to the denoiser.

    Returns:
        x_T (B, C, H, W), for use with `DDIM` on the same grid.
    """
    times = grid_times(denoiser.schedule, sampler.times(denoiser.schedule, num_steps).flip(0), images)
    x, noise_hat = images, torch.zeros_like(images)
    for t, s in pairwise(times):
        at_t, at_s = t.scales, s.scales
        x_s = _euler(x, noise_hat, at_t, at_s)
        x0_hat = denoiser(x_s, times_like(x_s, s.t).to(x_s.dtype), cond)
        noise_hat = (x_s - at_s.alpha * x0_hat) / at_s.sigma
        x = _euler(x, noise_hat, at_t, at_s)
    return x


def _euler(x: Tensor, noise_hat: Tensor, at_t: Scales, at_s: Scales) -> Tensor:
    """Return x_s after Euler's step of d(x/alpha) / d(sigma/alpha) = noise_hat, in a form in which alpha_s may be 0."""
    shrink = at_s.alpha / at_t.alpha
    return shrink * x + (at_s.sigma - shrink * at_t.sigma) * noise_hat


def slerp(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Return the spherical interpolation between two tensors (B, ...), image by image: `first` at weight 0, `second` at weight 1.

    Between two draws of Gaussian noise the result has the length that Gaussian noise has. On a straight line it would be shorter.
    """
    a, b = first.flatten(1), second.flatten(1)
    cosine = (a * b).sum(1, keepdim=True) / (a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True))
    # at smaller angles the arc is a straight line, to rounding, and the sines would be 0
    angle = cosine.clamp(-1, 1).acos().clamp(min=1e-4)
    mixed = ((1 - weight) * angle).sin() / angle.sin() * a + (weight * angle).sin() / angle.sin() * b
    return mixed.reshape(first.shape)


def interpolate(
    sampler: Sampler,
    denoiser: DenoiserLike,
    first: Tensor,
    second: Tensor,
    num_images: int,
    num_steps: int,
    cond: Condition | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Generate a row of N images that changes gradually from one image into another.

    Args:
        sampler: sampler that adds no noise. With added noise, neighbouring images would differ by their noise too.
        denoiser: denoiser, as for `Sampler.sample`.
        first: x_T (1, C, H, W) of the first image. For a given image, `encode` returns it.
        second: x_T (1, C, H, W) of the last image.
        num_images: number N of images with both ends, at least 2.
        num_steps: number of steps of the sampler.
        cond: condition of the N images, or None.
        generator: source of the noise that the sampler adds, if any, for N images.

    Returns:
        Images (N, C, H, W).

    Raises:
        ValueError: num_images is below 2.
    """
    if num_images < 2:
        raise ValueError(f"num_images={num_images}: 2 or more are expected")
    x_T = torch.cat([slerp(first, second, i / (num_images - 1)) for i in range(num_images)])
    return sampler.sample(denoiser, x_T, num_steps, cond, generator)


def image_to_image(
    sampler: Sampler,
    denoiser: DenoiserLike,
    images: Tensor,
    strength: float,
    num_steps: int,
    cond: Condition | None = None,
    generator: Generator | None = None,
    noise: Noise | None = None,
) -> Tensor:
    """Generate images similar to the given ones: add noise up to t = strength, then sample from there.

    The method is SDEdit (Meng et al. 2021, arXiv:2108.01073).

    Args:
        sampler: any sampler.
        denoiser: denoiser, as for `Sampler.sample`.
        images: images (B, C, H, W) in the denoiser's value_range.
        strength: time in (0, 1] at which sampling starts. Small values change little, 1 keeps next to nothing.
        num_steps: number of steps of the grid from t = 1. Only those that start at t <= strength are made.
        cond: condition that is passed to the denoiser.
        generator: source of all noise.
        noise: noise that the model was trained with. None is Gaussian.

    Returns:
        Images (B, C, H, W).

    Raises:
        ValueError: strength is out of range, or below the start of the last step.
    """
    states = image_to_image_trajectory(sampler, denoiser, images, strength, num_steps, cond, generator, noise)
    return deque(states, maxlen=1)[0].x_t


def image_to_image_trajectory(
    sampler: Sampler,
    denoiser: DenoiserLike,
    images: Tensor,
    strength: float,
    num_steps: int,
    cond: Condition | None = None,
    generator: Generator | None = None,
    noise: Noise | None = None,
) -> Iterator[SamplerState]:
    """Yield the states of `image_to_image`, from the noised images to the new ones."""
    schedule = denoiser.schedule
    remaining = remaining_times(sampler, schedule, strength, num_steps)
    x_t = noised(schedule, images, remaining[0].item(), generator, noise)
    sampler_of_rest = replace(sampler, grid=lambda schedule, num_steps: remaining)
    yield from sampler_of_rest.trajectory(denoiser, x_t, len(remaining) - 1, cond, generator)


def remaining_times(sampler: Sampler, schedule: NoiseSchedule, strength: float, num_steps: int) -> Tensor:
    """Return those times of the sampler's grid of num_steps that are at most `strength`, decreasing, at least two.

    Raises:
        ValueError: strength is out of range, or below the start of the last step.
    """
    times = sampler.times(schedule, num_steps)
    remaining = times[times <= strength + 1e-9]
    if not 0 < strength <= 1 or len(remaining) < 2:
        raise ValueError(
            f"strength={strength}: a number in [{times[-2].item():.4g}, 1] is expected with num_steps={num_steps}"
        )
    return remaining


def noised(
    schedule: NoiseSchedule, images: Tensor, t: float, generator: Generator | None, noise: Noise | None
) -> Tensor:
    """Return the images (B, C, H, W) with noise of the time t."""
    return schedule.add_noise(images, (noise or GaussianNoise()).like(images, generator), times_like(images, t))
