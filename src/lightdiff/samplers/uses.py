"""Uses of a trained model beyond drawing images: encode, interpolate, inpaint, image_to_image.

Each takes a sampler and a denoiser, as `Sampler.sample` does, and runs the sampler's own loop. Images are (B, C, H, W) in the
denoiser's value_range.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from lightdiff.core import Condition, GaussianNoise, Noise, NoiseSchedule
from lightdiff.samplers.base import DenoiserLike, Generator, Sampler, Scales, times_like


def encode(
    sampler: Sampler, denoiser: DenoiserLike, images: Tensor, num_steps: int, cond: Condition | None = None
) -> Tensor:
    """The x_T from which DDIM at eta = 0 makes these images, up to an error that falls as 1 / num_steps^2.

    DDIM inversion (Song et al. 2021, arXiv:2010.02502, section 5.4). Each step undoes one of DDIM's from s to t < s, whose
    noise_hat belongs to the unknown x_s: it is taken at the point where the last noise_hat leads. Of `sampler` only the grid is
    used.
    """
    times = sampler.times(denoiser.schedule, num_steps).flip(0).tolist()
    x, noise_hat = images, torch.zeros_like(images)
    for t, s in pairwise(times):
        now, then = Scales.at(denoiser.schedule, t), Scales.at(denoiser.schedule, s)
        x_s = _euler(x, noise_hat, now, then)
        x0_hat = denoiser(x_s, times_like(x_s, s).to(x_s.dtype), cond)
        noise_hat = (x_s - then.alpha * x0_hat) / then.sigma
        x = _euler(x, noise_hat, now, then)
    return x


def _euler(x: Tensor, noise_hat: Tensor, now: Scales, then: Scales) -> Tensor:
    """x/alpha moves in proportion to sigma/alpha; written so that then.alpha may be 0."""
    shrink = then.alpha / now.alpha
    return shrink * x + (then.sigma - shrink * now.sigma) * noise_hat


def slerp(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """From `first` (weight 0) to `second` (weight 1) along the great circle, image by image, (B, ...).

    Between two draws of Gaussian noise it stays as long as they are, which a straight line does not.
    """
    a, b = first.flatten(1), second.flatten(1)
    cosine = (a * b).sum(1, keepdim=True) / (a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True))
    angle = cosine.clamp(-1, 1).acos().clamp(min=1e-4)  # so near to each other the circle is a line
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
    """Images between two starting points.

    Args:
        sampler: a deterministic one, or neighbours differ by their noise too.
        denoiser: as for `Sampler.sample`.
        first: x_T (1, C, H, W) of the first image; that of a given image comes from `encode`.
        second: x_T (1, C, H, W) of the last image.
        num_images: N, both ends included, at least 2.
        num_steps: steps of the sampler.
        cond: condition of all N images, a batch of N.
        generator: source of noise for N images, where the sampler adds any.

    Returns:
        Images (N, C, H, W).

    Raises:
        ValueError: num_images below 2.
    """
    if num_images < 2:
        raise ValueError(f"num_images={num_images}: 2 or more are expected")
    x_T = torch.cat([slerp(first, second, i / (num_images - 1)) for i in range(num_images)])
    return sampler.sample(denoiser, x_T, num_steps, cond, generator)


class KnownPixels:
    """A denoiser that knows some pixels: its x0_hat has their true values.

    As samplers build x_s from x_t and x0_hat alone, the known part of x_s is then the true image at the noise level of s.

    Args:
        denoiser: guesses the rest.
        images: true values, (B, C, H, W).
        mask: 1 where pixels are unknown, 0 where they are known; broadcasts over images.
    """

    def __init__(self, denoiser: DenoiserLike, images: Tensor, mask: Tensor) -> None:
        self.denoiser = denoiser
        self.images = images
        self.mask = mask
        self.schedule: NoiseSchedule = denoiser.schedule
        self.value_range: tuple[float, float] = getattr(denoiser, "value_range", (-1.0, 1.0))

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        return torch.where(self.mask > 0, self.denoiser(x_t, t, cond), self.images)


def inpaint(
    sampler: Sampler,
    denoiser: DenoiserLike,
    images: Tensor,
    mask: Tensor,
    num_steps: int,
    cond: Condition | None = None,
    generator: Generator | None = None,
    noise: Noise | None = None,
) -> Tensor:
    """Images (B, C, H, W) with the pixels where mask is 1 drawn anew to fit the others, which keep their values.

    Args:
        sampler: any, without dynamic_threshold; one that adds noise on the way fits the new part better to the old one.
        denoiser: as for `Sampler.sample`.
        images: (B, C, H, W).
        mask: 1 where to paint, 0 where to keep; broadcasts over images.
        num_steps: steps of the sampler.
        cond: handed to the denoiser.
        generator: source of x_T and of the noise on the way.
        noise: what the model was trained with; Gaussian where None.
    """
    x_T = _noised(denoiser.schedule, images, sampler.times(denoiser.schedule, num_steps)[0].item(), generator, noise)
    return sampler.sample(KnownPixels(denoiser, images, mask), x_T, num_steps, cond, generator)


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
    """Images (B, C, H, W) like the given ones: noised to t = strength, then sampled from there (SDEdit, arXiv:2108.01073).

    Args:
        sampler: any.
        denoiser: as for `Sampler.sample`.
        images: (B, C, H, W).
        strength: in (0, 1]; 1 keeps next to nothing of the images.
        num_steps: steps from t = 1; of these, the ones from t <= strength on are done.
        cond: handed to the denoiser.
        generator: source of all noise.
        noise: what the model was trained with; Gaussian where None.

    Raises:
        ValueError: a strength out of range, or below the last step of the grid.
    """
    schedule = denoiser.schedule
    times = sampler.times(schedule, num_steps)
    left = times[times <= strength + 1e-9]
    if not 0 < strength <= 1 or len(left) < 2:
        raise ValueError(
            f"strength={strength}: a number in [{times[-2].item():.4g}, 1] is expected with num_steps={num_steps}"
        )
    x_t = _noised(schedule, images, left[0].item(), generator, noise)
    rest = replace(sampler, grid=lambda schedule, num_steps: left)
    return rest.sample(denoiser, x_t, len(left) - 1, cond, generator)


def _noised(
    schedule: NoiseSchedule, images: Tensor, t: float, generator: Generator | None, noise: Noise | None
) -> Tensor:
    return schedule.add_noise(images, (noise or GaussianNoise()).like(images, generator), times_like(images, t))
