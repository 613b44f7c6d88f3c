"""The base class of the objectives of few-step models, whose targets are made of x0_hat itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.diffusion import DiffusionObjective
from lightdiff.core.distance import MSE, Distance
from lightdiff.core.needs import INVERSE, Need, name_in_configuration, siblings, unmet
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw, Objective
from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.shapes import per_image
from lightdiff.core.teacher import Teacher
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import LEAST_SCALE, UnitWeighting, Weighting


@dataclass(frozen=True)
class FewStepDraw(Draw):
    """As `Draw`, with what the teacher is conditioned on.

    Args:
        teacher_cond: the teacher's condition of the B images; None without a conditional teacher.
    """

    teacher_cond: Condition | None = field(default=None, kw_only=True)


class FewStepObjective(DiffusionObjective):
    """Base class of the objectives that compare x0_hat with an image that x0_hat itself has helped to make.

        loss = weighting(t) * distance(sqrt(d) x0_hat, sqrt(d) target),    d = prediction.x0_weight(t)

    sqrt(d) turns errors of x0_hat into errors of the network's output, so that weighting and distance mean the same as in
    `DiffusionObjective`. No gradient goes through the target.

    A trained model can be the teacher. Small steps then go towards the teacher's estimate of the image, guided if you like, in
    place of the image of the data. `train.py` loads the teacher; in plain Python you hand it over before training begins:

        objective.learn_from(load_model("models/mnist_fast").denoiser)

    A trained student needs its teacher no more.

    Args:
        weighting, distance, time_sampler, noise: as in `DiffusionObjective`.
        teacher: run folder, checkpoint or exported model that is the teacher. None: there is no teacher.
        guidance_scale: scale of the classifier-free guidance of the teacher; 1 is plainly conditional.

    Attributes:
        frozen: the teacher that `learn_from` was given, or None.

    Raises:
        ValueError: guidance_scale is not a finite number.
    """

    needs: ClassVar[tuple[Need, ...]] = (INVERSE,)
    """What training with the objective needs of a schedule."""

    def __init__(
        self,
        weighting: Weighting = UnitWeighting(),
        distance: Distance = MSE(),
        time_sampler: TimeSampler = DefaultTime(),
        noise: Noise = GaussianNoise(),
        teacher: str | None = None,
        guidance_scale: float = 1.0,
    ) -> None:
        super().__init__(weighting, distance, time_sampler, noise)
        if not math.isfinite(guidance_scale):
            raise ValueError(f"guidance_scale={guidance_scale}: a finite number is expected")
        self.teacher = teacher
        self.guidance_scale = guidance_scale
        self.frozen: Teacher | None = None

    def learn_from(self, denoiser: Denoiser) -> None:
        """Make a frozen copy of this trained denoiser the teacher.

        Raises:
            ValueError: as `Teacher` raises it.
        """
        self.frozen = Teacher(denoiser, self.guidance_scale)

    @property
    def has_teacher(self) -> bool:
        """Whether small steps go towards a teacher's estimates, now or later in training."""
        return self.frozen is not None

    @property
    def teacher_sha256(self) -> str | None:
        """SHA-256 of the teacher's weights; None where no teacher is loaded."""
        return None if self.frozen is None else self.frozen.sha256

    def check_training(self, denoiser: Denoiser) -> None:
        super().check_training(denoiser)
        lacking = unmet(type(self), denoiser.schedule)
        if lacking is not None:
            # all schedules of lightdiff have an inverse
            choices = ", ".join(schedule.__name__ for schedule in siblings(NoiseSchedule))
            name = name_in_configuration(type(self), Objective)
            raise ValueError(f"objective={name}: {lacking}; choices: {choices}, or another objective")
        if self.frozen is None and self.teacher is not None:
            raise ValueError(f"teacher={self.teacher}: it is not loaded; hand it over with learn_from")
        if not self.has_teacher and self.guidance_scale != 1:
            raise ValueError(
                f"guidance_scale={self.guidance_scale}: it guides the teacher, and teacher=null; name a trained model (the "
                "recipes *_one_step take the one of init_from=), or choose 1"
            )

    def draw(
        self,
        shape: Sequence[int],
        schedule: NoiseSchedule,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> FewStepDraw:
        draw = super().draw(shape, schedule, generator, dtype)
        return FewStepDraw(draw.t, draw.noise)

    def conditioned(self, draw: Draw, inputs: Tensor, drop: Tensor) -> Draw:
        if self.frozen is None:
            return draw
        assert isinstance(draw, FewStepDraw)
        return replace(draw, teacher_cond=self.frozen.condition(inputs, drop, draw.noise))

    def direction(self, x0: Tensor, x_t: Tensor, draw: Draw, at_t: Scales) -> Tensor:
        """Return the image (B, ...) towards which a small step from x_t goes: the one that x_t was made of, or the teacher's.

        Args:
            x0: clean images (B, ...).
            x_t: noisy images (B, ...).
            draw: what was drawn for them.
            at_t: exact scales (B,) at the times of x_t.
        """
        if self.frozen is None:
            return x0
        assert isinstance(draw, FewStepDraw)
        return self.frozen(x_t, draw.t, at_t, draw.teacher_cond)

    def compared(self, denoiser: Denoiser, x0_hat: Tensor, target: Tensor, at_t: Scales, dtype: torch.dtype) -> Tensor:
        """Return the losses (B,) of x0_hat (B, ...) against its target (B, ...).

        Args:
            denoiser: denoiser that is trained.
            x0_hat: its estimates.
            target: what they should be.
            at_t: exact scales (B,) at the times t of x0_hat.
            dtype: type of the weights on the losses.
        """
        # d is infinite at sigma = 0
        bounded = Scales(at_t.alpha, at_t.sigma.clamp(min=LEAST_SCALE))
        root = per_image(denoiser.prediction.x0_weight(bounded).sqrt(), x0_hat)
        weight = self.weighting(at_t.to(dtype), denoiser.prediction)
        return weight * self.distance(root * x0_hat, root * target.detach())


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Leave torch's global random numbers as they were, so that dropout is the same in what follows as it was within."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
