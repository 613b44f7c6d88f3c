"""The training objective: what is predicted, at which times, with which noise, and how its error is measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.distance import MSE, Distance
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.prediction import EpsilonPrediction, Prediction
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.shapes import per_image
from lightdiff.core.time_sampler import TimeSampler, UniformTime
from lightdiff.core.weighting import UnitWeighting, Weighting


@dataclass(frozen=True)
class Objective:
    """The choices of a training run.

    Args:
        prediction: what the network's output means.
        weighting: how much each time counts.
        distance: how far the output is from its target.
        time_sampler: at which times the network is trained; the default is right for every schedule.
        noise: what images are mixed with.
    """

    prediction: Prediction = EpsilonPrediction()
    weighting: Weighting = UnitWeighting()
    distance: Distance = MSE()
    time_sampler: TimeSampler = UniformTime()
    noise: Noise = GaussianNoise()

    def check(self, schedule: NoiseSchedule) -> None:
        """ValueError, in one line, where a choice does not fit the schedule."""
        self.prediction.check(schedule)
        self.time_sampler.check(schedule)


class DiffusionLoss:
    """weighting * distance(network output, target), per image.

    Args:
        objective: the choices.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def __call__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        cond: Condition | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Losses (B,) of images x0 (B, C, H, W) at random times."""
        t, noise = self.draw(x0, denoiser.schedule, generator)
        return self.at(denoiser, x0, t, noise, cond)

    def draw(
        self, x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(t (B,), noise like x0): everything random in the loss; only shape, dtype and device of x0 matter."""
        device = x0.device if generator is None else generator.device
        t = self.objective.time_sampler(len(x0), schedule, generator=generator, device=device)
        return t.to(x0.device), self.objective.noise.like(x0, generator)

    def at(self, denoiser: Denoiser, x0: Tensor, t: Tensor, noise: Tensor, cond: Condition | None = None) -> Tensor:
        """Losses (B,) of images x0 at given times t (B,) and noise.

        Raises:
            ValueError: the denoiser's network predicts something else than the objective says.
        """
        prediction, schedule = self.objective.prediction, denoiser.schedule
        if denoiser.prediction != prediction:
            raise ValueError(f"prediction={denoiser.prediction}: the objective has {prediction}")
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        output = denoiser.raw(schedule.add_noise(x0, noise, t), t, cond)
        target = prediction.target(x0, noise, per_image(alpha, x0), per_image(sigma, x0))
        return self.objective.weighting(alpha, sigma, prediction) * self.objective.distance(output, target)
