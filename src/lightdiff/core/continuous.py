"""Schedules that are defined by a formula for every time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.grid import KarrasGrid, TimeGrid
from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.time_sampler import LogNormalSigmaTime, TimeSampler


@dataclass(frozen=True)
class FlowSchedule(NoiseSchedule):
    """The straight line from the image to the noise (Liu et al. 2022, arXiv:2209.03003, eq. 1).

    alpha(t) = 1 - t,    sigma(t) = t
    """

    def _at(self, t: Tensor) -> Scales:
        return Scales(1 - t, t)

    def _time_of(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


@dataclass(frozen=True)
class EDMSchedule(NoiseSchedule):
    """The variance-exploding schedule of EDM (Karras et al. 2022, arXiv:2206.00364, table 1).

        alpha(t) = 1,    sigma(t) = sigma_max t

    Sampling starts from x_T = sigma_max * noise. The formula also holds for t > 1, where the churn of `Heun` can go at its first
    step. Training times have a log-normal noise level by default, because uniform times would nearly all be too noisy.

    Args:
        sigma_min: smallest noise level above 0 on the default grid, which is `KarrasGrid`.
        sigma_max: noise level at t = 1.

    Raises:
        ValueError: sigma_min and sigma_max do not satisfy 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    time_input = "log_sigma"

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min={self.sigma_min}: a number above 0 and below sigma_max={self.sigma_max} is expected"
            )

    @property
    def prior_std(self) -> float:
        return float(self.sigma_max)

    @property
    def default_grid(self) -> TimeGrid:
        return KarrasGrid()

    @property
    def default_time_sampler(self) -> TimeSampler:
        return LogNormalSigmaTime()

    def _at(self, t: Tensor) -> Scales:
        return Scales(torch.ones_like(t), self.sigma_max * t)

    def _time_of(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr / 2) / self.sigma_max
