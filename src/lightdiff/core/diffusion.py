"""The objective of diffusion models: the network's output is compared with its target at random times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.distance import MSE, Distance
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw, Objective
from lightdiff.core.prediction import Prediction
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import UnitWeighting, Weighting


class DiffusionObjective(Objective):
    """The loss weighting(t) * distance(output of the network at x_t, target). The defaults are those of DDPM.

    Args:
        weighting: weight of the loss at each time.
        distance: measure of the difference between the output and its target.
        time_sampler: distribution of the times at which the network is trained. The default asks the schedule.
        noise: distribution of the noise that images are mixed with.
    """

    def __init__(
        self,
        weighting: Weighting = UnitWeighting(),
        distance: Distance = MSE(),
        time_sampler: TimeSampler = DefaultTime(),
        noise: Noise = GaussianNoise(),
    ) -> None:
        super().__init__()
        self.weighting = weighting
        self.distance = distance
        self.time_sampler = time_sampler
        self.noise = noise

    def check(self, prediction: Prediction, schedule: NoiseSchedule) -> None:
        self.time_sampler.check(schedule)

    def check_training(self, denoiser: Denoiser) -> None:
        self.weighting.check(denoiser.prediction, denoiser.schedule)

    def draw(
        self,
        shape: Sequence[int],
        schedule: NoiseSchedule,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Draw:
        t = self.time_sampler(shape[0], schedule, generator=generator)
        noise = self.noise.like(torch.empty(tuple(shape), dtype=dtype, device=generator.device), generator)
        return Draw(t, noise)

    def losses(
        self,
        denoiser: Denoiser,
        average: Denoiser,
        x0: Tensor,
        draw: Draw,
        cond: Condition | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        scales = denoiser.schedule.exact(draw.t)
        output = denoiser.raw(scales.mix(x0, self.mixed_in(draw)), draw.t, cond, scales=scales)
        target = denoiser.prediction.target(x0, draw.noise, scales.per_image(x0))
        weight = self.weighting(scales.to(draw.t.dtype), denoiser.prediction)
        return weight * self.distance(output, target)

    def mixed_in(self, draw: Draw) -> Tensor:
        """Return the noise (B, C, H, W) with which the images are mixed."""
        return draw.noise
