"""The multistep sampler DPM-Solver++."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from lightdiff.core import NoiseSchedule
from lightdiff.samplers.base import Advance, Generator, GridTime, Predict, Sampler
from lightdiff.samplers.ddim import DDIM

Order = Literal[1, 2, 3]

FEW_STEPS = 15
"""Number of steps below which the last step but one of order 3 is made with order 2, as diffusers does."""


@dataclass(frozen=True)
class DPMSolverMultistep(Sampler):
    """The samplers DPM-Solver++(2M) and (3M), and their stochastic forms (Lu et al. 2022, arXiv:2211.01095).

    A step is the step of `DDIM` with x0_hat replaced by D, which is extrapolated from x0_hat and those of one or two steps
    before, x0_hat' and x0_hat''. With lambda = log(alpha / sigma), a step has the length h = lambda_s - lambda_t, and those
    before it h' and h''. Of order 2 (algorithm 2 of the paper, and section 6 for the stochastic form):

        D = x0_hat + h / (2 h') (x0_hat - x0_hat')

    Of order 3 (the paper's Taylor expansion in lambda, with two derivatives from divided differences):

        D   = x0_hat + c_1 D_1 + c_2 D_2,    c_1 = e - 1 / k,    c_2 = e - 2 c_1 / k,    e = 1 / (1 - exp(-k))
        D_1 = h (d' + h' q),    D_2 = h^2 q,    q = (d' - d'') / (h' + h'')
        d'  = (x0_hat - x0_hat') / h',    d'' = (x0_hat' - x0_hat'') / h''

    with k = h, or 2 h in the stochastic form. The implementation of the authors, which diffusers follows, has half of D_2, with
    which the order is measured as 2.

    D is x0_hat in the first step, in the step after a start at alpha = 0, and in the step to sigma = 0. With order 3, the step
    after such a start has order 2, and so has the last step but one where there are fewer than 15.

    Args:
        order: 2, 3, or 1 for no extrapolation, which is `DDIM`.
        sde: add noise as ancestral sampling does, which is eta = 1 in the step of `DDIM`.

    Raises:
        ValueError: order is none of these.
    """

    order: Order = 2
    sde: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in get_args(Order):
            raise ValueError(f"order={self.order}: choices: {', '.join(map(str, get_args(Order)))}")

    @property
    def added_noise(self) -> str | None:
        return f"sde={self.sde}" if self.sde else None

    def _advance(
        self, predict: Predict, schedule: NoiseSchedule, num_steps: int, generator: Generator | None
    ) -> Advance:
        first_order = DDIM(eta=float(self.sde))
        # x0_hat and h of the steps before, the latest one first
        earlier: deque[tuple[Tensor, float]] = deque(maxlen=self.order - 1)
        steps_left = num_steps

        def advance(x_t: Tensor, t: GridTime, s: GridTime) -> tuple[Tensor, Tensor]:
            nonlocal steps_left
            x0_hat = predict(x_t, t.t)
            h = math.log(t.ratio / s.ratio) if s.ratio > 0 else math.inf
            used = [*earlier][:1] if steps_left == 2 and num_steps < FEW_STEPS else [*earlier]
            extrapolated = self._extrapolated(x0_hat, h, used) if math.isfinite(h) else x0_hat
            # from alpha = 0, where h is infinite, nothing is extrapolated
            if math.isfinite(h):
                earlier.appendleft((x0_hat, h))
            steps_left -= 1
            return x0_hat, first_order.step_at(x_t, extrapolated, t.scales, s.scales, generator)

        return advance

    def _extrapolated(self, x0_hat: Tensor, h: float, earlier: list[tuple[Tensor, float]]) -> Tensor:
        """Return D, of an order that is one more than there are earlier steps."""
        if not earlier:
            return x0_hat
        x0_hat_1, h_1 = earlier[0]
        if len(earlier) == 1:
            return x0_hat + h / (2 * h_1) * (x0_hat - x0_hat_1)
        x0_hat_2, h_2 = earlier[1]
        slope = (x0_hat - x0_hat_1) / h_1
        curvature = (slope - (x0_hat_1 - x0_hat_2) / h_2) / (h_1 + h_2)
        k = 2 * h if self.sde else h
        e = -1 / math.expm1(-k)
        c_1 = e - 1 / k
        c_2 = e - 2 * c_1 / k
        return x0_hat + c_1 * h * (slope + h_1 * curvature) + c_2 * h**2 * curvature
