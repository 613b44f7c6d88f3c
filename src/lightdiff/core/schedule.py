"""The base class of the noise schedules, which say how much of x_t is image and how much is noise at each time.

The time t is a number in [0, 1]: x_t is the image at t = 0 and noise at t = 1.

    x_t = alpha(t) * x0 + sigma(t) * noise,    log_snr(t) = log(alpha(t)^2 / sigma(t)^2), strictly decreasing

Shapes: a batch has B images; times and log-SNRs are (B,).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightdiff.core.grid import TimeGrid, UniformGrid
from lightdiff.core.scales import LOG_SNR_BOUNDS, Scales
from lightdiff.core.time_sampler import TimeSampler


class NoiseSchedule(ABC):
    """Base class of the noise schedules: functions from the time t to the scales alpha and sigma, and the inverse of log_snr(t).

        scales = schedule(t)

    All methods take tensors (B,) of any floating dtype on any device. They compute in float64 (float32 on devices without
    float64) and, except for `exact`, return the dtype they were given. Sampling starts from x_T = prior_std * noise.

    A subclass implements `_at`, and `_time_of` if its log-SNR can be inverted. A schedule without the inverse cannot be used
    with the grids and time samplers that are defined by the noise level.
    """

    time_input: str = "t"
    """Form in which the network gets the time unless the denoiser chooses another: a key of `TIME_INPUTS`."""

    @property
    def prior_std(self) -> float:
        """Standard deviation of x_T, the pure noise from which sampling starts."""
        return 1.0

    @property
    def default_grid(self) -> TimeGrid:
        """Time grid of samplers that have no grid of their own."""
        return UniformGrid()

    @property
    def default_time_sampler(self) -> TimeSampler | None:
        """Time sampler of training with this schedule, unless another one is asked for. None: samplers of uniform times fit."""
        return None

    @property
    def has_inverse(self) -> bool:
        """Whether `t_from_log_snr` is implemented."""
        return type(self)._time_of is not NoiseSchedule._time_of

    def __call__(self, t: Tensor) -> Scales:
        """Return the scales at times t, each (B,)."""
        return self.exact(t).to(t.dtype)

    def exact(self, t: Tensor) -> Scales:
        """Return the scales at times t, each (B,), in the precision in which they are computed."""
        return self._at(_exact(t))

    def alpha(self, t: Tensor) -> Tensor:
        """Return the scale of the image at times t: (B,)."""
        return self(t).alpha

    def sigma(self, t: Tensor) -> Tensor:
        """Return the scale of the noise at times t: (B,)."""
        return self(t).sigma

    def log_snr(self, t: Tensor) -> Tensor:
        """Return log(alpha^2 / sigma^2) at times t, clipped to `LOG_SNR_BOUNDS`: (B,)."""
        return self.exact(t).log_snr.to(t.dtype)

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Return the times at which log_snr(t) has these values, after clipping them to `LOG_SNR_BOUNDS`: (B,).

        Raises:
            NotImplementedError: the schedule has no inverse.
        """
        return self._time_of(_exact(log_snr).clamp(*LOG_SNR_BOUNDS)).to(log_snr.dtype)

    def t_from_flow_time(self, flow_time: Tensor) -> Tensor:
        """Return the times at which `Scales.flow_time` has these values, numbers in [0, 1]: (B,). It is 0 at 0.

        Raises:
            NotImplementedError: the schedule has no inverse.
        """
        tau = _exact(flow_time)
        t = self.t_from_log_snr(2 * (torch.log1p(-tau) - tau.log()))
        return torch.where(tau == 0, 0, t).to(flow_time.dtype)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t = alpha(t) * x0 + sigma(t) * noise for images x0 (B, ...), noise (B, ...) and times t (B,)."""
        return self.exact(t).mix(x0, noise)

    def snap(self, t: Tensor) -> Tensor:
        """Return the times t, each moved up to the next time at which a network is trained.

        Only discrete schedules move them: to the next timestep.
        """
        return t

    @abstractmethod
    def _at(self, t: Tensor) -> Scales:
        """Return the scales at times t, in the dtype of t."""

    def _time_of(self, log_snr: Tensor) -> Tensor:
        """Return the times at which the log-SNR is log_snr, in the dtype of log_snr."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse: t_from_log_snr is not defined")


def _exact(t: Tensor) -> Tensor:
    """Return t in float64, or in float32 on Apple's GPUs, which have no float64."""
    return t.to(torch.float32 if t.device.type == "mps" else torch.float64)
