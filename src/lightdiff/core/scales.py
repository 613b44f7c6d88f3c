"""The two scales of a noise schedule: how much of x_t is image and how much is noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.shapes import per_image

LOG_SNR_BOUNDS = (-60.0, 60.0)
"""Smallest and largest value of log_snr, which would be infinite at t = 0, and at t = 1 if alpha(1) is 0."""


@dataclass(frozen=True)
class Scales:
    """The scales of x_t = alpha * x0 + sigma * noise at some times, which a schedule computes together.

    Args:
        alpha: scale of the image: one number for each of B images (B,), a single number (), or a shape that broadcasts against
            images, as `per_image` returns it.
        sigma: scale of the noise, in the same shape.
    """

    alpha: Tensor
    sigma: Tensor

    @property
    def ratio(self) -> Tensor:
        """Noise level sigma / alpha, infinite where alpha is 0."""
        return self.sigma / self.alpha

    @property
    def log_snr(self) -> Tensor:
        """log(alpha^2 / sigma^2), clipped to `LOG_SNR_BOUNDS`."""
        return (2 * (self.alpha.log() - self.sigma.log())).clamp(*LOG_SNR_BOUNDS)

    @property
    def flow_time(self) -> Tensor:
        """sigma / (alpha + sigma), from 0 at the image to 1 where alpha is 0: the time of this noise level on `FlowSchedule`."""
        return self.sigma / (self.alpha + self.sigma)

    def to(self, dtype: torch.dtype) -> Scales:
        """Return the scales in another floating dtype."""
        return Scales(self.alpha.to(dtype), self.sigma.to(dtype))

    def per_image(self, images: Tensor) -> Scales:
        """Return the scales (B,) as (B, 1, ..., 1) in the dtype of `images` (B, ...)."""
        return Scales(per_image(self.alpha, images), per_image(self.sigma, images))

    def mix(self, x0: Tensor, noise: Tensor) -> Tensor:
        """Return x_t = alpha * x0 + sigma * noise (B, ...) for images x0 (B, ...) and noise (B, ...)."""
        scales = self.per_image(x0)
        return scales.alpha * x0 + scales.sigma * noise
