"""Schedules given by a formula."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.grid import KarrasGrid, TimeGrid
from lightdiff.core.schedule import NoiseSchedule


@dataclass(frozen=True)
class FlowSchedule(NoiseSchedule):
    """The straight line from image to noise: alpha = 1 - t, sigma = t (Liu et al. 2022, arXiv:2209.03003, eq. 1)."""

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t

    def _time_of(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


@dataclass(frozen=True)
class EDMSchedule(NoiseSchedule):
    """Variance exploding: alpha = 1, sigma = sigma_max * t (Karras et al. 2022, arXiv:2206.00364, table 1).

    x_T is sigma_max * noise. The line goes on above t = 1, which churn at the first step makes use of.

    Args:
        sigma_min: smallest noise level of the default (Karras) grid before 0.
        sigma_max: noise level at t = 1.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
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

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_max * t

    def _time_of(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr / 2) / self.sigma_max
