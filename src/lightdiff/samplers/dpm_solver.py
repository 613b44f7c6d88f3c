"""The multistep sampler DPM-Solver++."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lightdiff.core import NoiseSchedule
from lightdiff.samplers.base import Advance, Generator, GridTime, Predict, Sampler
from lightdiff.samplers.ddim import DDIM


@dataclass(frozen=True)
class DPMSolverMultistep(Sampler):
    """The sampler DPM-Solver++(2M) and its stochastic form (Lu et al. 2022, arXiv:2211.01095, algorithm 2 and section 6).

    A step is the step of `DDIM` with x0_hat replaced by D, which is extrapolated from the last two x0_hat:

        D = x0_hat + (x0_hat - previous x0_hat) / (2 r),    r = (previous h) / h
        h = lambda_s - lambda_t,    lambda = log(alpha / sigma)

    D is x0_hat in the first step, in the step after a start at alpha = 0 (there r is infinite), and in the step to sigma = 0.

    Args:
        order: 2, or 1 for no extrapolation, which is `DDIM`.
        sde: add noise as ancestral sampling does, which is eta = 1 in the step of `DDIM`.

    Raises:
        ValueError: order is neither 1 nor 2.
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
        # x0_hat and h of the previous step
        previous: tuple[Tensor, float] | None = None

        def advance(x_t: Tensor, t: GridTime, s: GridTime) -> tuple[Tensor, Tensor]:
            nonlocal previous
            x0_hat = predict(x_t, t.t)
            h = math.log(t.ratio / s.ratio) if s.ratio > 0 else math.inf
            extrapolated = x0_hat
            if self.order == 2 and previous is not None and math.isfinite(h):
                previous_x0_hat, previous_h = previous
                extrapolated = x0_hat + h / (2 * previous_h) * (x0_hat - previous_x0_hat)
            previous = x0_hat, h
            return x0_hat, first_order._step(x_t, extrapolated, t.scales, s.scales, generator)

        return advance
