"""Progressive distillation: two steps of a frozen teacher teach one step of the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.distance import MSE, Distance
from lightdiff.core.few_step import FewStepDraw, FewStepObjective
from lightdiff.core.grid import FlowTimeGrid
from lightdiff.core.jumps import first_share, joined, jump
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.weighting import TruncatedSNRWeighting, Weighting


@dataclass(frozen=True)
class DistillationDraw(FewStepDraw):
    """As `Draw`, with the times at which the two steps of the teacher end.

    Args:
        u: times (B,) where the first step ends.
        s: times (B,) where the second one ends, as does the student's step.
    """

    u: Tensor
    s: Tensor


class ProgressiveDistillation(FewStepObjective):
    """The loss of progressive distillation (Salimans & Ho 2022, arXiv:2202.00512, algorithm 2).

    t > u > s are neighbouring times on the grid of the teacher, which has twice as many steps as that of the student:

        x_u = jump of DDIM (eta = 0) from x_t towards the teacher's x0_hat(x_t, t),    x_s = the same from x_u to s
        target = (x_s - (sigma_s / sigma_t) x_t) / (alpha_s - (sigma_s / sigma_t) alpha_t)

    The target is the image towards which one jump from x_t lands at x_s. It is computed as the weighted mean of the teacher's two
    estimates that it is (`joined`), which does not divide by small numbers. Loss as in `FewStepObjective`.

    Both grids are `FlowTimeGrid`, of which the steps of every second grid begin and end at times of the other. Sample with the
    same grid and with num_steps steps. The student begins with the weights of the teacher. To halve the steps again, train a
    student of half as many steps whose teacher is this student.

    Args:
        num_steps: steps of the student, 1 or more; the teacher takes twice as many.
        weighting: weight of the loss at each time. Truncated SNR is the paper's (section 4).
        distance, noise, guidance_scale: as in `FewStepObjective`.
        teacher: as in `FewStepObjective`. There has to be one.

    Raises:
        ValueError: num_steps is below 1, or guidance_scale is not a finite number.
    """

    def __init__(
        self,
        num_steps: int = 4,
        weighting: Weighting = TruncatedSNRWeighting(),
        distance: Distance = MSE(),
        noise: Noise = GaussianNoise(),
        teacher: str | None = None,
        guidance_scale: float = 1.0,
    ) -> None:
        super().__init__(weighting, distance, noise=noise, teacher=teacher, guidance_scale=guidance_scale)
        if num_steps < 1:
            raise ValueError(f"num_steps={num_steps}: 1 or more is expected")
        self.num_steps = num_steps

    def check_training(self, denoiser: Denoiser) -> None:
        super().check_training(denoiser)
        if self.frozen is None:
            raise ValueError("teacher=null: a trained model is needed, whose steps are halved; give its run folder")
        try:
            FlowTimeGrid()(denoiser.schedule, 2 * self.num_steps)
        except ValueError as error:
            raise ValueError(f"num_steps={self.num_steps}: the teacher takes twice as many steps; {error}") from error

    def draw(
        self,
        shape: Sequence[int],
        schedule: NoiseSchedule,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> DistillationDraw:
        device = generator.device
        exact = torch.float32 if device.type == "mps" else torch.float64
        step = torch.randint(1, self.num_steps + 1, (shape[0],), generator=generator, device=device, dtype=exact)
        shares = [(2 * step - half) / (2 * self.num_steps) for half in range(3)]
        t, u, s = (FlowTimeGrid.at(schedule, share).to(torch.float32) for share in shares)
        noise = self.noise.like(torch.empty(tuple(shape), dtype=dtype, device=device), generator)
        return DistillationDraw(t, noise, u, s)

    def losses(
        self,
        denoiser: Denoiser,
        average: Denoiser,
        x0: Tensor,
        draw: Draw,
        cond: Condition | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        assert isinstance(draw, DistillationDraw)
        at_t = denoiser.schedule.exact(draw.t)
        x_t = at_t.mix(x0, draw.noise)
        target = self.target(x_t, draw, denoiser.schedule)
        # a network with a second time learns which jump this is
        return self.compared(denoiser, denoiser(x_t, draw.t, cond, draw.s), target, at_t, draw.t.dtype)

    def target(self, x_t: Tensor, draw: DistillationDraw, schedule: NoiseSchedule) -> Tensor:
        """Return the image (B, ...) towards which one jump from x_t lands where the teacher's two jumps land.

        Args:
            x_t: noisy images (B, ...).
            draw: their times, and the teacher's condition.
            schedule: noise schedule of the student.
        """
        assert self.frozen is not None
        at_t, at_u, at_s = (schedule.exact(time) for time in (draw.t, draw.u, draw.s))
        first = self.frozen(x_t, draw.t, at_t, draw.teacher_cond, until=(draw.u, at_u))
        x_u = jump(x_t, first, at_t, at_u).to(x_t.dtype)
        second = self.frozen(x_u, draw.u, at_u, draw.teacher_cond, until=(draw.s, at_s))
        return joined(first, second, first_share(at_t.flow_time, at_u.flow_time, at_s.flow_time))
