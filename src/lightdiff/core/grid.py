"""Time grids: the times at which a sampler calls the denoiser.

A grid is called with a schedule and a number of steps N. It returns N + 1 times: float64 on the CPU, strictly decreasing, and
ending at 0. A sampler takes any callable of this form, also one whose last time is above 0.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lightdiff.core.needs import INVERSE, TIMESTEPS, Need, check_needs

if TYPE_CHECKING:
    from lightdiff.core.schedule import NoiseSchedule

LARGEST_SIGMA = 80.0
"""Largest noise level sigma / alpha between t = 1 and t = 0 on the default grids (Karras et al. 2022, table 1)."""
SMALLEST_SIGMA = 0.002
"""Smallest noise level above 0 on the grids of schedules that name none of their own (Karras et al. 2022, table 1)."""


class TimeGrid(ABC):
    """Base class of the time grids."""

    needs: ClassVar[tuple[Need, ...]] = ()
    """What the grid needs of a schedule."""

    def __call__(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        """Return the times (num_steps + 1,) for this schedule.

        Raises:
            ValueError: num_steps is below 1 or above the number of timesteps, or the grid does not fit the schedule.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps={num_steps}: 1 or more is expected")
        check_needs(type(self), TimeGrid, schedule)
        return self._times(schedule, num_steps)

    @abstractmethod
    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        """Return the times (num_steps + 1,), float64 on the CPU, for num_steps of 1 or more."""


@dataclass(frozen=True)
class UniformGrid(TimeGrid):
    """Times that are uniform from 1 to 0. With a discrete schedule they may lie between two timesteps."""

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        return _falling(num_steps)


@dataclass(frozen=True)
class QuadraticGrid(TimeGrid):
    """Times t = u^2 with u uniform from 1 to 0, so that steps get smaller towards the image.

    This is the quadratic spacing of DDIM (Song et al. 2021, arXiv:2010.02502, appendix D.2).
    """

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        return _falling(num_steps) ** 2


@dataclass(frozen=True)
class TrailingGrid(TimeGrid):
    """Times that are uniform from 1 to 0; with a discrete schedule each is rounded to a timestep.

    The first step starts at t = 1, the last timestep (Lin et al. 2023, arXiv:2305.08891).
    """

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        T = _table_size(schedule)
        if T is None:
            return _falling(num_steps)
        _check_fits(num_steps, T)
        return torch.round(T * _falling(num_steps)) / T


@dataclass(frozen=True)
class FlowTimeGrid(TimeGrid):
    """Times whose flow time sigma / (alpha + sigma) is uniform, from that of t = 1 to 0.

    With a discrete schedule each time is moved up to a timestep. Every second time of 2 N steps is a time of N steps, on which
    progressive distillation relies.

    Raises:
        ValueError: on a call: the schedule has no inverse, or two times of num_steps steps fall on the same timestep.
    """

    needs: ClassVar[tuple[Need, ...]] = (INVERSE,)

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        times = self.at(schedule, _falling(num_steps))
        if not (times.diff() < 0).all():
            raise ValueError(
                f"num_steps={num_steps}: this schedule has too few timesteps of little noise for so many steps"
            )
        return times

    @staticmethod
    def at(schedule: NoiseSchedule, share: Tensor) -> Tensor:
        """Return the times (B,) with these shares of the flow time of t = 1, numbers (B,) in [0, 1]."""
        t = schedule.snap(schedule.t_from_flow_time(share * schedule.exact(torch.ones_like(share)).flow_time))
        return torch.where((share == 0) | (share == 1), share, t)


@dataclass(frozen=True)
class LeadingGrid(TimeGrid):
    """The timesteps (N - 1) d, ..., 2 d, d, 0 with d = T // N, then t = 0.

    The grid starts below t = 1 unless N = T. It is the spacing of the code of DDIM (Song et al. 2021, arXiv:2010.02502), for
    discrete schedules only.
    """

    needs: ClassVar[tuple[Need, ...]] = (TIMESTEPS,)

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        T: int = schedule.num_train_timesteps  # type: ignore[attr-defined]
        _check_fits(num_steps, T)
        timesteps = torch.arange(num_steps - 1, -1, -1, dtype=torch.float64) * (T // num_steps)
        return torch.cat([(timesteps + 1) / T, torch.zeros(1, dtype=torch.float64)])


@dataclass(frozen=True)
class KarrasGrid(TimeGrid):
    """Noise levels sigma/alpha whose power 1/rho is uniform, then t = 0 (Karras et al. 2022, arXiv:2206.00364, eq. 5).

    Args:
        rho: exponent above 0. 7 spends many steps at low noise, 1 makes the noise levels uniform.
        sigma_min: smallest noise level sigma/alpha above 0. None takes the schedule's own.
        sigma_max: noise level of the first time. With None the grid starts at t = 1; the other times are computed as if it
            started at the schedule's largest noise level, or at 80 where that is smaller, because sigma/alpha may be infinite
            at t = 1.

    Raises:
        ValueError: rho, sigma_min or sigma_max is not above 0. Also on a call: the schedule has no inverse, or does not have
            these noise levels.
    """

    needs: ClassVar[tuple[Need, ...]] = (INVERSE,)

    rho: float = 7.0
    sigma_min: float | None = None
    sigma_max: float | None = None

    def __post_init__(self) -> None:
        for name in ("rho", "sigma_min", "sigma_max"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}={value}: a number above 0 is expected")

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        low, high = _noise_levels(schedule, self.sigma_min, self.sigma_max)
        ramp = torch.linspace(high ** (1 / self.rho), low ** (1 / self.rho), num_steps, dtype=torch.float64)
        times = schedule.t_from_log_snr(-2 * self.rho * ramp.log())
        if self.sigma_max is None:
            times[0] = 1
        return torch.cat([times, torch.zeros(1, dtype=torch.float64)])


@dataclass(frozen=True)
class LogSNRGrid(TimeGrid):
    """Times that are uniform in the log-SNR (Lu et al. 2022, arXiv:2206.00927, section 3.4).

    Args:
        log_snr_min: log-SNR of the first time. With None the grid starts at t = 1, as `KarrasGrid` does.
        log_snr_max: log-SNR of the last time above 0. None takes the schedule's own.
        final_zero: whether the last step goes from log_snr_max to t = 0. With False the grid ends at log_snr_max.

    Raises:
        ValueError: log_snr_min is not below log_snr_max. Also on a call: the schedule has no inverse, or does not have these
            values.
    """

    needs: ClassVar[tuple[Need, ...]] = (INVERSE,)

    log_snr_min: float | None = None
    log_snr_max: float | None = None
    final_zero: bool = True

    def __post_init__(self) -> None:
        if self.log_snr_min is not None and self.log_snr_max is not None and not self.log_snr_min < self.log_snr_max:
            raise ValueError(
                f"log_snr_min={self.log_snr_min}: a number below log_snr_max={self.log_snr_max} is expected"
            )

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        sigma_min, sigma_max = (
            None if bound is None else math.exp(-bound / 2) for bound in (self.log_snr_max, self.log_snr_min)
        )
        low, high = _noise_levels(schedule, sigma_min, sigma_max)
        count = num_steps if self.final_zero else num_steps + 1
        times = schedule.t_from_log_snr(-2 * torch.linspace(math.log(high), math.log(low), count, dtype=torch.float64))
        if self.log_snr_min is None:
            times[0] = 1
        return torch.cat([times, torch.zeros(1, dtype=torch.float64)]) if self.final_zero else times


def _falling(num_steps: int) -> Tensor:
    """Return the times (num_steps + 1,) from 1 to 0 in equal steps."""
    return torch.arange(num_steps, -1, -1, dtype=torch.float64) / num_steps


def _table_size(schedule: NoiseSchedule) -> int | None:
    """Return the number of timesteps T of a discrete schedule, None for any other schedule."""
    return getattr(schedule, "num_train_timesteps", None)


def _check_fits(num_steps: int, T: int) -> None:
    if num_steps > T:
        raise ValueError(f"num_steps={num_steps}: this schedule has {T} timesteps; at most {T} is expected")


def _noise_levels(schedule: NoiseSchedule, low: float | None, high: float | None) -> tuple[float, float]:
    """Return the smallest and the largest noise level sigma/alpha of a grid: `low` and `high`, or where None the schedule's own.

    Raises:
        ValueError: the schedule does not reach `high`, or the smallest level is not below the largest.
    """
    T = _table_size(schedule)
    ends = torch.tensor([1.0 / T if T else 0.0, 1.0], dtype=torch.float64)
    own_low, own_high = torch.exp(-schedule.log_snr(ends) / 2).tolist()
    if high is not None and high > own_high * (1 + 1e-9):
        raise ValueError(
            f"sigma_max={high:g}: the largest noise level of this schedule is {own_high:g} "
            f"(log_snr_min={-2 * math.log(own_high):g}); at most that is expected"
        )
    chosen_high = min(own_high, LARGEST_SIGMA) if high is None else min(high, own_high)
    chosen_low = float(getattr(schedule, "sigma_min", own_low if T else SMALLEST_SIGMA)) if low is None else low
    if not chosen_low < chosen_high:
        raise ValueError(
            f"sigma_min={chosen_low:g}: the grid's largest noise level is {chosen_high:g}; less than that is expected"
        )
    return chosen_low, chosen_high
