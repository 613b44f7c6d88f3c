"""A flow map from scratch in one training, in which the model becomes its own teacher."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.diffusion import DiffusionObjective
from lightdiff.core.distance import MSE, Distance, PseudoHuber
from lightdiff.core.flow_map import FlowMapObjective
from lightdiff.core.jump_rules import DiscreteRule, JumpRule
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import UnitWeighting, Weighting

OWN_TEACHER = "own_teacher."
"""Beginning of the names of the teacher's weights among those of the objective."""


class SelfTaughtFlowMap(FlowMapObjective):
    """The loss of a flow map that begins with random weights: ordinary training first, then jumps with itself as the teacher.

        progress < share_alone:    weighting(t) * |output - target|^2, the loss of `DiffusionObjective`
        progress >= share_alone:   the loss of `FlowMapObjective`; the teacher is the average of the weights at that moment

    The teacher is a frozen copy. It must not go on learning: its guidance would be fed back into what it is computed from and
    would grow without end. The copy lies in the checkpoint, so that a resumed run goes on with the same one.

    Args:
        share_alone: share of the training before there is a teacher, above 0 and below 1.
        rule, share_at_t, share_at_0, weighting, distance, time_sampler, noise: as in `FlowMapObjective`. The ordinary loss has
            the same weighting and times, and the squared distance.
        guidance_scale: scale of the classifier-free guidance of the teacher, which the model learns.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        share_alone: float = 0.75,
        rule: JumpRule = DiscreteRule(),
        share_at_t: float = 0.0,
        share_at_0: float = 0.5,
        weighting: Weighting = UnitWeighting(),
        distance: Distance = PseudoHuber(),
        time_sampler: TimeSampler = DefaultTime(),
        noise: Noise = GaussianNoise(),
        guidance_scale: float = 1.0,
    ) -> None:
        super().__init__(
            rule, share_at_t, share_at_0, weighting, distance, time_sampler, noise, guidance_scale=guidance_scale
        )
        if not 0 < share_alone < 1:
            raise ValueError(f"share_alone={share_alone}: a number above 0 and below 1 is expected")
        self.needs_end = True
        self.share_alone = share_alone
        self.ordinary = DiffusionObjective(weighting, MSE(), time_sampler, noise)
        self._kept: dict[str, Tensor] = {}

    @property
    def has_teacher(self) -> bool:
        return True

    @property
    def teacher_sha256(self) -> str | None:
        """None: the teacher comes with the checkpoint, so that there is nothing to compare it with."""
        return None

    def check_training(self, denoiser: Denoiser) -> None:
        super().check_training(denoiser)
        if self.guidance_scale != 1 and not getattr(denoiser.conditioner, "drop_prob", 0):
            raise ValueError(
                f"guidance_scale={self.guidance_scale}: the model becomes its own teacher, which can only be guided if it is "
                "trained without its condition too; choices: 1, or a conditioning with drop_prob above 0"
            )
        if self._kept:
            own = copy.deepcopy(denoiser)
            own.load_state_dict(self._kept)
            self.learn_from(own)
            self._kept = {}

    def later_state(self, denoiser: Denoiser) -> dict[str, Tensor]:
        return {OWN_TEACHER + name: weight for name, weight in denoiser.state_dict().items()}

    def losses(
        self,
        denoiser: Denoiser,
        average: Denoiser,
        x0: Tensor,
        draw: Draw,
        cond: Condition | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        if self.frozen is not None:
            alone = self.share_alone
            return super().losses(denoiser, average, x0, draw, cond, max(0.0, progress - alone) / (1 - alone))
        losses = self.ordinary.losses(denoiser, average, x0, draw, cond, progress)
        # validation comes at other moments, and must not decide when the teacher is made
        if denoiser.training and progress >= self.share_alone:
            self.learn_from(average)
        return losses

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        own: Mapping[str, Tensor] = self._kept if self.frozen is None else self.frozen.module.state_dict()
        destination.update({prefix + OWN_TEACHER + name: weight for name, weight in own.items()})

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        start = prefix + OWN_TEACHER
        own = {name: state_dict.pop(name) for name in list(state_dict) if name.startswith(start)}
        # the network that they belong to is known when training begins
        with torch.inference_mode(False):
            self._kept = {name.removeprefix(start): weight.clone() for name, weight in own.items()}
        super()._load_from_state_dict(state_dict, prefix, *args)
