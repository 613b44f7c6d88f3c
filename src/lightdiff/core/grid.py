"""TimeGrid: the times at which a sampler stops.

A grid is called with a schedule and a number of steps N and gives N + 1 times, float64 on the CPU, strictly decreasing and
ending at 0. Any callable of that form will do; samplers take those that end above 0 too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightdiff.core.schedule import NoiseSchedule

LARGEST_SIGMA = 80.0
SMALLEST_SIGMA = 0.002
"""Noise levels sigma / alpha beyond which no step is spent unless it is asked for (Karras et al. 2022, table 1)."""


class TimeGrid(ABC):
    """Base of the grids; every one refuses num_steps below 1 in one line."""

    def __call__(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        """Times (num_steps + 1,) for this schedule.

        Raises:
            ValueError: num_steps below 1 or above what the grid has, or a schedule the grid does not fit.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps={num_steps}: 1 or more is expected")
        return self._times(schedule, num_steps)

    @abstractmethod
    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor: ...


@dataclass(frozen=True)
class UniformGrid(TimeGrid):
    """Uniform in t from 1 to 0, also between the points of a table."""

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        return _falling(num_steps)


@dataclass(frozen=True)
class QuadraticGrid(TimeGrid):
    """t = u^2 with u uniform from 1 to 0: smaller steps near the image (Song et al. 2021, arXiv:2010.02502, appendix D.2)."""

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        return _falling(num_steps) ** 2


@dataclass(frozen=True)
class TrailingGrid(TimeGrid):
    """Uniform in t from 1 to 0, rounded to the points of the table where there is one (Lin et al. 2023, arXiv:2305.08891)."""

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        T = _table_size(schedule)
        if T is None:
            return _falling(num_steps)
        _check_fits(num_steps, T)
        return torch.round(T * _falling(num_steps)) / T


@dataclass(frozen=True)
class LeadingGrid(TimeGrid):
    """Timesteps 0, d, 2d, ... with d = T // N, from the last one down: begins below t = 1 (Ho et al. 2020 code, DDIM)."""

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        T = _table_size(schedule)
        if T is None:
            raise ValueError(
                f"grid=leading: it needs a schedule with timesteps, not {type(schedule).__name__}; "
                "choices: uniform, trailing, quadratic, karras, log_snr"
            )
        _check_fits(num_steps, T)
        timesteps = torch.arange(num_steps - 1, -1, -1, dtype=torch.float64) * (T // num_steps)
        return torch.cat([(timesteps + 1) / T, torch.zeros(1, dtype=torch.float64)])


@dataclass(frozen=True)
class KarrasGrid(TimeGrid):
    """sigma/alpha to the power 1/rho is uniform, then 0 (Karras et al. 2022, arXiv:2206.00364, eq. 5).

    Args:
        rho: 7 spends many steps at low noise; 1 is uniform in sigma/alpha.
        sigma_min: last noise level sigma/alpha above 0; None: the schedule's own.
        sigma_max: first noise level; None: the grid begins at t = 1, its second point follows as if it had begun at the
            schedule's largest noise level or at 80, whichever is less (sigma/alpha is infinite where alpha is 0).

    Raises:
        ValueError: rho, sigma_min or sigma_max not above 0; when called, a schedule without inverse or levels it does not have.
    """

    rho: float = 7.0
    sigma_min: float | None = None
    sigma_max: float | None = None

    def __post_init__(self) -> None:
        for name in ("rho", "sigma_min", "sigma_max"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}={value}: a number above 0 is expected")

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        _check_inverse("karras", schedule)
        low, high = _noise_levels(schedule, self.sigma_min, self.sigma_max)
        ramp = torch.linspace(high ** (1 / self.rho), low ** (1 / self.rho), num_steps, dtype=torch.float64)
        times = schedule.t_from_log_snr(-2 * self.rho * ramp.log())
        if self.sigma_max is None:
            times[0] = 1
        return torch.cat([times, torch.zeros(1, dtype=torch.float64)])


@dataclass(frozen=True)
class LogSNRGrid(TimeGrid):
    """Uniform in log-SNR (Lu et al. 2022, arXiv:2206.00927, section 3.4).

    Args:
        log_snr_min: log-SNR of the first time; None: the grid begins at t = 1, as with `KarrasGrid`.
        log_snr_max: log-SNR of the last time above 0; None: the schedule's own.
        final_zero: whether the last of the num_steps steps goes from log_snr_max to t = 0; else the grid ends at log_snr_max.

    Raises:
        ValueError: log_snr_min not below log_snr_max; when called, a schedule without inverse or levels it does not have.
    """

    log_snr_min: float | None = None
    log_snr_max: float | None = None
    final_zero: bool = True

    def __post_init__(self) -> None:
        if self.log_snr_min is not None and self.log_snr_max is not None and not self.log_snr_min < self.log_snr_max:
            raise ValueError(
                f"log_snr_min={self.log_snr_min}: a number below log_snr_max={self.log_snr_max} is expected"
            )

    def _times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        _check_inverse("log_snr", schedule)
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
    """1, ..., 0 in num_steps equal steps."""
    return torch.arange(num_steps, -1, -1, dtype=torch.float64) / num_steps


def _table_size(schedule: NoiseSchedule) -> int | None:
    return getattr(schedule, "num_train_timesteps", None)


def _check_fits(num_steps: int, T: int) -> None:
    if num_steps > T:
        raise ValueError(f"num_steps={num_steps}: this schedule has {T} timesteps; at most {T} is expected")


def _check_inverse(name: str, schedule: NoiseSchedule) -> None:
    if not schedule.has_inverse:
        raise ValueError(
            f"grid={name}: it needs a schedule with an inverse (t_from_log_snr), which {type(schedule).__name__} has not; "
            "choices: uniform, trailing, quadratic"
        )


def _noise_levels(schedule: NoiseSchedule, low: float | None, high: float | None) -> tuple[float, float]:
    """(smallest, largest) sigma/alpha of a grid: as asked for, or the schedule's own."""
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
