"""Flow maps: the network learns the x0_hat of jumps from any t to any s, so that one model samples in any number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.distance import Distance, PseudoHuber
from lightdiff.core.few_step import FewStepDraw, FewStepObjective
from lightdiff.core.jump_rules import DiscreteRule, JumpRule, Jumps
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import UnitWeighting, Weighting


@dataclass(frozen=True)
class JumpDraw(FewStepDraw):
    """As `FewStepDraw`, with the times where the jumps end.

    Args:
        s: times (B,) in [0, t].
    """

    s: Tensor


class FlowMapObjective(FewStepObjective):
    """The loss of flow maps: the x0_hat of a jump from t to s is compared with the target that a rule makes for it.

    The end s is t in a part of the images, where the loss is that of ordinary training, and 0 in another part. In the others the
    flow time of s is uniform between 0 and that of t. Draw from such a model with `DDIM`, in any number of steps.

    Args:
        rule: what the target is: `DiscreteRule`, `ShortcutRule` or `MeanFlowRule`.
        share_at_t: share of the images whose jump has no length, s = t.
        share_at_0: share of the images whose jump ends at the image, s = 0. Both together are at most 1.
        weighting, distance, time_sampler, noise: as in `DiffusionObjective`.
        teacher, guidance_scale: as in `FewStepObjective`.

    Raises:
        ValueError: a share is negative, both together are above 1, or share_at_t is 0 and the rule needs jumps of no length.
    """

    def __init__(
        self,
        rule: JumpRule = DiscreteRule(),
        share_at_t: float = 0.25,
        share_at_0: float = 0.25,
        weighting: Weighting = UnitWeighting(),
        distance: Distance = PseudoHuber(),
        time_sampler: TimeSampler = DefaultTime(),
        noise: Noise = GaussianNoise(),
        teacher: str | None = None,
        guidance_scale: float = 1.0,
    ) -> None:
        super().__init__(weighting, distance, time_sampler, noise, teacher, guidance_scale)
        if not 0 <= share_at_t <= 1:
            raise ValueError(f"share_at_t={share_at_t}: a number from 0 to 1 is expected")
        # 1 - share_at_t can be less than share_at_0 by rounding, as for 0.8 and 0.2
        if not (share_at_0 >= 0 and share_at_t + share_at_0 <= 1):
            raise ValueError(
                f"share_at_0={share_at_0}: a number from 0 to 1 - share_at_t = {1 - share_at_t:g} is expected"
            )
        if rule.needs_share_at_t and share_at_t == 0:
            raise ValueError(
                f"share_at_t=0: {type(rule).__name__} learns the images from jumps of no length; a number above 0 is expected"
            )
        self.rule = rule
        self.needs_end = rule.needs_end
        self.share_at_t = share_at_t
        self.share_at_0 = share_at_0

    def check_training(self, denoiser: Denoiser) -> None:
        super().check_training(denoiser)
        if not denoiser.takes_s:
            raise ValueError(
                "model.takes_s=false: objective=flow_map trains a network that takes the time s where a jump ends, which "
                f"{type(denoiser.network).__name__} does not; choices: model.takes_s=true with model=unet, resunet or dit"
            )
        self.rule.check_training(denoiser)

    def draw(
        self,
        shape: Sequence[int],
        schedule: NoiseSchedule,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> JumpDraw:
        draw = super().draw(shape, schedule, generator, dtype)
        kind, part = torch.rand(2, shape[0], generator=generator, device=generator.device)
        s = schedule.t_from_flow_time(part * schedule.exact(draw.t).flow_time).to(draw.t.dtype)
        s = torch.where(kind < self.share_at_t + self.share_at_0, 0, torch.minimum(s, draw.t))
        return JumpDraw(draw.t, draw.noise, torch.where(kind < self.share_at_t, draw.t, s))

    def losses(
        self,
        denoiser: Denoiser,
        average: Denoiser,
        x0: Tensor,
        draw: Draw,
        cond: Condition | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        assert isinstance(draw, JumpDraw)
        at_t = denoiser.schedule.exact(draw.t)
        x_t = at_t.mix(x0, draw.noise)
        jumps = Jumps(denoiser, x_t, draw.t, draw.s, self.direction(x0, x_t, draw, at_t), cond)
        x0_hat, target = self.rule(jumps, progress)
        return self.compared(denoiser, x0_hat, target, at_t, draw.t.dtype)
