"""DPM-Solver++ with two-step extrapolation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lightdiff.core import NoiseSchedule
from lightdiff.samplers.base import Advance, Generator, Predict, Sampler, Scales, times_like
from lightdiff.samplers.ddim import DDIM


@dataclass(frozen=True)
class DPMSolverMultistep(Sampler):
    """DPM-Solver++(2M), and its SDE form (Lu et al. 2022, arXiv:2211.01095, algorithm 2 and section 6).

    With lambda = log(alpha/sigma), h = lambda_s - lambda_t and r = (previous h) / h, the step is that of DDIM, with eta = 0 or
    (SDE) eta = 1, towards x0_hat extrapolated from the last two:

        D = x0_hat + (x0_hat - previous x0_hat) / (2 r)

    D is x0_hat itself, first order, at the first step, after one from alpha = 0 (r is infinite), and for the one to sigma = 0.

    Args:
        order: 2, or 1, which is DDIM.
        sde: add noise on the way as ancestral sampling does.

    Raises:
        ValueError: an order that does not exist.
    """

    order: Literal[1, 2] = 2
    sde: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2):
            raise ValueError(f"order={self.order}: choices: 1, 2")

    @property
    def added_noise(self) -> str | None:
        return f"sde={self.sde}" if self.sde else None

    def _advance(
        self, predict: Predict, schedule: NoiseSchedule, num_steps: int, generator: Generator | None
    ) -> Advance:
        first_order = DDIM(eta=float(self.sde))
        previous: tuple[Tensor, float] | None = None  # x0_hat and h of the step before

        def advance(x_t: Tensor, t: float, s: float) -> tuple[Tensor, Tensor]:
            nonlocal previous
            x0_hat = predict(x_t, t)
            now, then = Scales.at(schedule, t).ratio, Scales.at(schedule, s).ratio
            h = math.log(now / then) if then > 0 else math.inf
            towards = x0_hat
            if self.order == 2 and previous is not None and math.isfinite(h):
                last_x0_hat, last_h = previous
                towards = x0_hat + h / (2 * last_h) * (x0_hat - last_x0_hat)
            previous = x0_hat, h
            return x0_hat, first_order.step(schedule, x_t, towards, times_like(x_t, t), times_like(x_t, s), generator)

        return advance
