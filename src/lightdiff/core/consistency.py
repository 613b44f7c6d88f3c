"""Consistency training: x0_hat at t is taught x0_hat at a less noisy time r of the same image and noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.distance import Distance, PseudoHuber
from lightdiff.core.few_step import FewStepObjective, repeatable
from lightdiff.core.jumps import jump
from lightdiff.core.needs import name_in_configuration, siblings
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw
from lightdiff.core.prediction import Prediction
from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.stages import checked_ratios, ratio_at
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import UnitWeighting, Weighting


class ConsistencyObjective(FewStepObjective):
    """The loss of consistency models (Song et al. 2023, arXiv:2303.01469, eq. 10; Geng et al. 2024, arXiv:2406.14548, eq. 8).

        target = x0_hat(x_r, r),    x_r = alpha_r x0 + sigma_r noise,    loss as in `FewStepObjective`, with x0_hat(x_t, t)

    Image, noise and dropout are the same at t and r. The flow time of r is that of t, multiplied by a ratio that grows in stages
    as training goes on. At ratio 0 the target is the image itself, and the loss is that of ordinary training. The x0_hat of a
    trained model is the image at which the probability flow through x_t ends, for every t; draw from it with `Renoise`.

    With a teacher this is consistency distillation (Song et al. 2023, algorithm 2): x_r is where the step of DDIM (eta = 0) from
    x_t lands that goes towards the teacher's estimate of the image.

    Args:
        ratios: ratio of the flow times of r and t in each of the equally long stages of training: numbers in [0, 1) that rise.
        weighting, distance, time_sampler, noise, teacher, guidance_scale: as in `FewStepObjective`.

    Raises:
        ValueError: ratios is empty, falls, or has a number outside [0, 1).
    """

    def __init__(
        self,
        ratios: Sequence[float] = (0.0, 0.5, 0.75, 0.875),
        weighting: Weighting = UnitWeighting(),
        distance: Distance = PseudoHuber(),
        time_sampler: TimeSampler = DefaultTime(),
        noise: Noise = GaussianNoise(),
        teacher: str | None = None,
        guidance_scale: float = 1.0,
    ) -> None:
        super().__init__(weighting, distance, time_sampler, noise, teacher, guidance_scale)
        self.ratios = checked_ratios(ratios)
        self.needs_end = len(set(self.ratios)) > 1

    def check(self, prediction: Prediction, schedule: NoiseSchedule) -> None:
        super().check(prediction, schedule)
        if not keeps_images(prediction):
            fitting = [kind for kind in siblings(Prediction) if all(need.met(schedule) for need in kind.needs)]
            choices = [name_in_configuration(kind, Prediction) for kind in fitting if keeps_images(kind())]
            raise ValueError(
                f"prediction={name_in_configuration(type(prediction), Prediction)}: a consistency model needs x0_hat = x where "
                f"there is no noise; choices: {', '.join(choices)}"
            )

    def losses(
        self,
        denoiser: Denoiser,
        average: Denoiser,
        x0: Tensor,
        draw: Draw,
        cond: Condition | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        at_t = denoiser.schedule.exact(draw.t)
        x_t = at_t.mix(x0, draw.noise)
        with torch.no_grad():
            direction = self.direction(x0, x_t, draw, at_t)
            target = self._target(denoiser, x_t, direction, draw.t, at_t, cond, self.ratio(progress))
        return self.compared(denoiser, denoiser(x_t, draw.t, cond), target, at_t, draw.t.dtype)

    def ratio(self, progress: float) -> float:
        """Return the ratio of the flow times of r and t in the stage of training at `progress`, a number in [0, 1]."""
        return ratio_at(self.ratios, progress)

    def _target(
        self,
        denoiser: Denoiser,
        x_t: Tensor,
        direction: Tensor,
        t: Tensor,
        at_t: Scales,
        cond: Condition | None,
        ratio: float,
    ) -> Tensor:
        if ratio == 0:
            return direction
        r = denoiser.schedule.t_from_flow_time(ratio * at_t.flow_time).to(t.dtype)
        x_r = jump(x_t, direction, at_t, denoiser.schedule.exact(r))
        with repeatable(x_t.device):
            return denoiser(x_r, r, cond)


def keeps_images(prediction: Prediction) -> bool:
    """Return whether x0_hat is x itself at alpha = 1 and sigma = 0, to rounding, whatever the network's output is."""
    output, x, one = torch.tensor([3.0, -2.0]), torch.tensor([0.5, 0.25]), torch.ones(2)
    return torch.allclose(prediction.to_x0(output, x, Scales(one, 0 * one)), x)
