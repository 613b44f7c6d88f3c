"""Heun's method with churn, the sampler of EDM."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core import GaussianNoise, NoiseSchedule
from lightdiff.samplers.base import Advance, Generator, Predict, Sampler, Scales, times_like
from lightdiff.samplers.ddim import DDIM

LARGEST_RATIO = 80.0
"""Euler above this sigma/alpha: there the cosine schedule's first steps are too long for a second-order correction."""


@dataclass(frozen=True)
class Heun(Sampler):
    """Second order, two network evaluations a step (Karras et al. 2022, arXiv:2206.00364, algorithm 2, for any alpha).

    The equation is d(x/alpha) / d(sigma/alpha) = noise_hat. Steps that begin at sigma/alpha > 80 (or alpha = 0) or end at
    sigma = 0 are Euler's. Churn first adds noise at steps with s_tmin <= sigma/alpha <= s_tmax, raising sigma/alpha by the
    factor 1 + min(s_churn / num_steps, sqrt(2) - 1), where the schedule reaches that far. A state of a churned step holds x_t
    as it was before, and x0_hat as seen after.

    Args:
        s_churn: how much noise is added and taken out again over the whole trajectory; 0: deterministic.
        s_tmin: lowest sigma/alpha with churn.
        s_tmax: highest sigma/alpha with churn.
        s_noise: standard deviation of that noise; slightly above 1 makes up for detail lost.

    Raises:
        ValueError: s_churn, s_tmin or s_noise below 0, or s_tmax below s_tmin.
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

        def advance(x_t: Tensor, t: float, s: float) -> tuple[Tensor, Tensor]:
            if gamma > 0 and self.s_tmin <= Scales.at(schedule, t).ratio <= self.s_tmax:
                x_t, t = self._churned(schedule, x_t, t, gamma, generator)
            x0_hat = predict(x_t, t)
            x_s = euler.step(schedule, x_t, x0_hat, times_like(x_t, t), times_like(x_t, s))
            now, then = Scales.at(schedule, t), Scales.at(schedule, s)
            if then.sigma == 0 or now.ratio > LARGEST_RATIO:
                return x0_hat, x_s
            noise_now = (x_t - now.alpha * x0_hat) / now.sigma
            noise_then = (x_s - then.alpha * predict(x_s, s)) / then.sigma
            noise_hat = (noise_now + noise_then) / 2
            shrink = then.alpha / now.alpha
            return x0_hat, shrink * x_t + (then.sigma - shrink * now.sigma) * noise_hat

        return advance

    def _churned(
        self, schedule: NoiseSchedule, x_t: Tensor, t: float, gamma: float, generator: Generator | None
    ) -> tuple[Tensor, float]:
        """x and its time after adding noise until sigma/alpha has grown by 1 + gamma."""
        now = Scales.at(schedule, t)
        if math.isinf(now.ratio):
            return x_t, t
        wanted = torch.tensor([-2 * math.log(now.ratio * (1 + gamma))], dtype=torch.float64)
        later = schedule.t_from_log_snr(wanted).item()
        then = Scales.at(schedule, later)
        added = math.sqrt(max(then.ratio**2 - now.ratio**2, 0.0))
        noise = GaussianNoise().like(x_t, generator)
        return then.alpha * (x_t / now.alpha + self.s_noise * added * noise), later
