"""The sampler of consistency models, which draws new noise in each step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lightdiff.core import GaussianNoise, Scales, per_image
from lightdiff.samplers.base import Generator, OneStepSampler


@dataclass(frozen=True)
class Renoise(OneStepSampler):
    """Multistep consistency sampling (Song et al. 2023, arXiv:2303.01469, algorithm 1, here for any alpha).

        x_s = alpha_s x0_hat + sigma_s z,    z ~ N(0, 1)

    It is meant for models whose x0_hat is an image of the data at every t, as consistency models have it: then x_s has the
    distribution of the noisy images at s. One step gives x0_hat itself. With the x0_hat of an ordinary model, which is a mean of
    images, contrast and variety are lost in every step.
    """

    @property
    def added_noise(self) -> str | None:
        return "sampler=renoise"

    def step_at(
        self, x_t: Tensor, x0_hat: Tensor, at_t: Scales, at_s: Scales, generator: Generator | None = None
    ) -> Tensor:
        noise = GaussianNoise().like(x_t, generator)
        return per_image(at_s.alpha, x_t) * x0_hat + per_image(at_s.sigma, x_t) * noise
