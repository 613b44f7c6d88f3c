"""Inpainting: generate some pixels of an image anew, so that they fit the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from lightdiff.core import Condition, GaussianNoise, Noise, NoiseSchedule, second_time
from lightdiff.samplers.base import DenoiserLike, Generator, Sampler, SamplerState, grid_times
from lightdiff.samplers.uses import noised


class KnownPixels:
    """A denoiser whose x0_hat has the true values at the known pixels.

    A sampler computes x_s from x_t and x0_hat alone, so the known part of x_s is the true image with the noise of the time s.

    Args:
        denoiser: denoiser that gives the unknown pixels.
        images: images (B, C, H, W) with the true values of the known pixels.
        mask: 1 at unknown pixels, 0 at known ones. It broadcasts over the images.
    """

    def __init__(self, denoiser: DenoiserLike, images: Tensor, mask: Tensor) -> None:
        self.denoiser = denoiser
        self.images = images
        self.mask = mask
        self.schedule: NoiseSchedule = denoiser.schedule
        self.value_range: tuple[float, float] | None = getattr(denoiser, "value_range", (-1.0, 1.0))
        self.takes_s: bool = getattr(denoiser, "takes_s", False)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        return torch.where(self.mask > 0, self.denoiser(x_t, t, cond, **second_time(self, s)), self.images)


def inpaint(
    sampler: Sampler,
    denoiser: DenoiserLike,
    images: Tensor,
    mask: Tensor,
    num_steps: int,
    cond: Condition | None = None,
    generator: Generator | None = None,
    noise: Noise | None = None,
    *,
    resamples: int = 1,
) -> Tensor:
    """Generate the pixels where mask is 1 anew, so that they fit the other pixels, which keep their values.

    With resamples = U > 1 (RePaint, Lugmayr et al. 2022, arXiv:2201.09865, algorithm 1) every step is made U times. Between two
    of them noise leads back from s to t, as the forward process does:

        x_t = (alpha_t / alpha_s) x_s + sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) z,    z ~ N(0, 1)

    In each repetition the new pixels see the known ones, and the known ones' noise, once more. For many steps and repetitions
    the new pixels follow the distribution given the known ones. A single pass falls short of that: at high noise, where the
    content is decided, little of the known pixels is to be seen.

    Args:
        sampler: sampler without dynamic_threshold, which would change the known pixels. One that adds noise fits the new pixels
            better to the known ones. With resamples > 1, each step is one of its own, so that multistep samplers are of first
            order.
        denoiser: denoiser, as for `Sampler.sample`.
        images: images (B, C, H, W) in the denoiser's value_range.
        mask: 1 at pixels to generate, 0 at pixels to keep. It broadcasts over the images.
        num_steps: number of steps of the sampler. There are num_steps * resamples in all.
        cond: condition that is passed to the denoiser.
        generator: source of x_T and of all noise that is added.
        noise: noise that the model was trained with. None is Gaussian.
        resamples: how often each step is made, 1 or more.

    Returns:
        Images (B, C, H, W).

    Raises:
        ValueError: resamples is below 1, or above 1 for a model of other noise than Gaussian.
    """
    states = inpaint_trajectory(sampler, denoiser, images, mask, num_steps, cond, generator, noise, resamples=resamples)
    return deque(states, maxlen=1)[0].x_t


def inpaint_trajectory(
    sampler: Sampler,
    denoiser: DenoiserLike,
    images: Tensor,
    mask: Tensor,
    num_steps: int,
    cond: Condition | None = None,
    generator: Generator | None = None,
    noise: Noise | None = None,
    *,
    resamples: int = 1,
) -> Iterator[SamplerState]:
    """Yield the num_steps + 1 states of `inpaint`; of a step that is repeated, the last time it is made."""
    check_resamples(resamples, noise)
    schedule, known = denoiser.schedule, KnownPixels(denoiser, images, mask)
    times = sampler.times(schedule, num_steps).tolist()
    x_t = noised(schedule, images, times[0], generator, noise)
    if resamples == 1:
        yield from sampler.trajectory(known, x_t, num_steps, cond, generator)
        return
    for t, s in pairwise(times):
        step = replace(sampler, grid=partial(_two_times, t, s))
        state, end = step.trajectory(known, x_t, 1, cond, generator)
        for _ in range(resamples - 1):
            x_t = _noised_back(schedule, end.x_t, s, t, generator)
            state, end = step.trajectory(known, x_t, 1, cond, generator)
        yield state
        x_t = end.x_t
    yield end


def _two_times(t: float, s: float, schedule: NoiseSchedule, num_steps: int) -> Tensor:
    """Return the grid of the single step from t to s."""
    return torch.tensor([t, s], dtype=torch.float64)


def check_resamples(resamples: int, noise: Noise | None) -> None:
    """Refuse a number of repetitions that cannot be made.

    Raises:
        ValueError: one line with the value and what is expected.
    """
    if resamples < 1 or resamples != int(resamples):
        raise ValueError(f"resamples={resamples}: a whole number, 1 or more, is expected")
    if resamples > 1 and noise is not None and not noise.is_gaussian:
        raise ValueError(
            f"resamples={resamples}: it adds Gaussian noise, but this model was trained with {type(noise).__name__}; choices: 1"
        )


def _noised_back(schedule: NoiseSchedule, x_s: Tensor, s: float, t: float, generator: Generator | None) -> Tensor:
    """Return x_t for a time t > s: x_s with the noise that the forward process adds between the two times."""
    at_t, at_s = (time.scales for time in grid_times(schedule, torch.tensor([t, s], dtype=torch.float64), x_s))
    shrink = at_t.alpha / at_s.alpha
    variance = (at_t.sigma**2 - (shrink * at_s.sigma) ** 2).clamp(min=0)
    return shrink * x_s + variance.sqrt() * GaussianNoise().like(x_s, generator)
