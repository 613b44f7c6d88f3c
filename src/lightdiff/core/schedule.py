"""NoiseSchedule: how much image and how much noise there is at each time.

Time t is a number in [0, 1]; t = 0 is clean, t = 1 is noise:

    x_t = alpha(t) * x0 + sigma(t) * noise          log_snr(t) = log(alpha(t)^2 / sigma(t)^2), strictly falling

Shapes: B images a batch; times and log-SNRs are (B,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightdiff.core.grid import TimeGrid, UniformGrid
from lightdiff.core.shapes import per_image

LOG_SNR_BOUNDS = (-60.0, 60.0)
"""log_snr is clipped to these where it is infinite: at t = 0, and at t = 1 where alpha is 0."""


class NoiseSchedule(ABC):
    """alpha(t) and sigma(t) and their inverse.

    All methods take (B,) tensors of any floating dtype on any device, compute in float64 (float32 where the device has no
    float64) and return the dtype they were given. A new schedule implements `_scales` and, where it can, `_time_of`; without
    the latter it trains and samples, but not on grids or with time samplers that are defined by the noise level.

    Sampling starts from x_T = prior_std * noise.
    """

    time_input: str = "t"
    """What a network is told of the time unless the model says otherwise; the choices are `denoiser.TIME_INPUTS`."""

    @property
    def prior_std(self) -> float:
        """Scale of x_T: standard deviation of the noise at t = 1."""
        return 1.0

    @property
    def default_grid(self) -> TimeGrid:
        """Times of sampling where nothing else is asked for."""
        return UniformGrid()

    @property
    def has_inverse(self) -> bool:
        """Whether `t_from_log_snr` exists."""
        return type(self)._time_of is not NoiseSchedule._time_of

    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the image at times t."""
        return self._scales(_exact(t))[0].to(t.dtype)

    def sigma(self, t: Tensor) -> Tensor:
        """Scale of the noise at times t."""
        return self._scales(_exact(t))[1].to(t.dtype)

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2) at times t, clipped to `LOG_SNR_BOUNDS`."""
        alpha, sigma = self._scales(_exact(t))
        return (2 * (alpha.log() - sigma.log())).clamp(*LOG_SNR_BOUNDS).to(t.dtype)

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """The times at which log_snr(t) has these values, which are clipped to `LOG_SNR_BOUNDS`."""
        return self._time_of(_exact(log_snr).clamp(*LOG_SNR_BOUNDS)).to(log_snr.dtype)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t (B, ...) from images x0 (B, ...), noise of the same shape and times t (B,)."""
        return per_image(self.alpha(t), x0) * x0 + per_image(self.sigma(t), x0) * noise

    def snap(self, t: Tensor) -> Tensor:
        """The times nearest above t at which a network is trained; all times, unless the schedule is a table."""
        return t

    @abstractmethod
    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at times t, in the dtype of t."""

    def _time_of(self, log_snr: Tensor) -> Tensor:
        """t from log_snr, in the dtype of log_snr."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse: t_from_log_snr is not defined")


def _exact(t: Tensor) -> Tensor:
    return t.to(torch.float32 if t.device.type == "mps" else torch.float64)
