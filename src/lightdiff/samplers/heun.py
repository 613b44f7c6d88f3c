"""The second-order sampler of EDM: Heun's method with churn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core import GaussianNoise, NoiseSchedule
from lightdiff.samplers.base import Advance, Generator, GridTime, Predict, Sampler, grid_times
from lightdiff.samplers.ddim import DDIM

LARGEST_RATIO = 80.0
"""Noise level sigma/alpha above which a step is Euler's. There the first steps of the cosine schedule are too long for Heun's."""


@dataclass(frozen=True)
class Heun(Sampler):
    """The sampler of EDM (Karras et al. 2022, arXiv:2206.00364, algorithm 2, here for any alpha).

    It solves d(x/alpha) / d(sigma/alpha) = noise_hat with Heun's method, which is of second order and calls the denoiser twice in
    a step. Steps that start at sigma/alpha > 80 before churn (also at alpha = 0) or end at sigma = 0 are Euler's, with one call.

    Churn adds noise at the start of the steps with s_tmin <= sigma/alpha <= s_tmax. It multiplies sigma/alpha by
    1 + min(s_churn / num_steps, sqrt(2) - 1), or by less where the schedule does not reach that level. The state of such a step
    holds x_t before the noise was added, and x0_hat after.

    Args:
        s_churn: total amount of churn over all steps, 0 or more. 0 makes the sampler deterministic.
        s_tmin: lowest sigma/alpha with churn, 0 or more.
        s_tmax: highest sigma/alpha with churn, at least s_tmin.
        s_noise: standard deviation of the added noise, 0 or more. Slightly more than 1 makes up for a loss of detail.

    Raises:
        ValueError: an argument is out of range.
    """

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("s_churn", "s_tmin", "s_noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)}: 0 or more is expected")
        if not self.s_tmax >= self.s_tmin:
            raise ValueError(f"s_tmax={self.s_tmax}: at least s_tmin={self.s_tmin} is expected")

    @property
    def added_noise(self) -> str | None:
        return f"s_churn={self.s_churn}" if self.s_churn > 0 else None

    def _advance(
        self, predict: Predict, schedule: NoiseSchedule, num_steps: int, generator: Generator | None
    ) -> Advance:
        gamma = min(self.s_churn / num_steps, math.sqrt(2) - 1)
        euler = DDIM()

        def advance(x_t: Tensor, t: GridTime, s: GridTime) -> tuple[Tensor, Tensor]:
            # before the churn, which may raise it above the limit on the schedule of EDM
            ratio = t.ratio
            if gamma > 0 and self.s_tmin <= ratio <= self.s_tmax:
                x_t, t = self._churned(schedule, x_t, t, gamma, generator)
            at_t, at_s = t.scales, s.scales
            x0_hat = predict(x_t, t.t)
            x_s = euler.step_at(x_t, x0_hat, at_t, at_s)
            if at_s.sigma == 0 or ratio > LARGEST_RATIO:
                return x0_hat, x_s
            noise_at_t = (x_t - at_t.alpha * x0_hat) / at_t.sigma
            noise_at_s = (x_s - at_s.alpha * predict(x_s, s.t)) / at_s.sigma
            noise_hat = (noise_at_t + noise_at_s) / 2
            shrink = at_s.alpha / at_t.alpha
            return x0_hat, shrink * x_t + (at_s.sigma - shrink * at_t.sigma) * noise_hat

        return advance

    def _churned(
        self, schedule: NoiseSchedule, x_t: Tensor, t: GridTime, gamma: float, generator: Generator | None
    ) -> tuple[Tensor, GridTime]:
        """Add noise to x_t until sigma/alpha has grown by the factor 1 + gamma, and return the new x and its time."""
        if math.isinf(t.ratio):
            return x_t, t
        log_snr = torch.tensor([-2 * math.log(t.ratio * (1 + gamma))], dtype=torch.float64)
        (churned,) = grid_times(schedule, schedule.t_from_log_snr(log_snr), x_t)
        added = math.sqrt(max(churned.ratio**2 - t.ratio**2, 0.0))
        noise = GaussianNoise().like(x_t, generator)
        return churned.scales.alpha * (x_t / t.scales.alpha + self.s_noise * added * noise), churned
