"""The training objective: which choices make up the loss, and the loss itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.distance import MSE, Distance
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.prediction import EpsilonPrediction, Prediction
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import UnitWeighting, Weighting


@dataclass(frozen=True)
class Objective:
    """The choices that define the training loss. The defaults are those of DDPM.

    Args:
        prediction: meaning of the network's output.
        weighting: weight of the loss at each time.
        distance: measure of the difference between the output and its target.
        time_sampler: distribution of the times at which the network is trained. The default asks the schedule.
        noise: distribution of the noise that images are mixed with.
    """

    prediction: Prediction = EpsilonPrediction()
    weighting: Weighting = UnitWeighting()
    distance: Distance = MSE()
    time_sampler: TimeSampler = DefaultTime()
    noise: Noise = GaussianNoise()

    def check(self, schedule: NoiseSchedule) -> None:
        """Check that the prediction and the time sampler fit the schedule.

        Raises:
            ValueError: one of them does not fit.
        """
        self.prediction.check(schedule)
        self.time_sampler.check(schedule)

    def check_training(self, schedule: NoiseSchedule) -> None:
        """Check that a network can be trained with these weights of the loss. A trained model needs no such check.

        Raises:
            ValueError: the weights are not bounded with this prediction and schedule.
        """
        self.weighting.check(self.prediction, schedule)


class DiffusionLoss:
    """The training loss weighting(t) * distance(network output, target), one number for each image.

    Args:
        objective: the choices that define the loss.
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
        """Return the losses (B,) of images x0 (B, C, H, W) at random times.

        Args:
            denoiser: denoiser that is trained.
            x0: clean images (B, C, H, W).
            cond: condition of the images, or None.
            generator: source of the times and the noise. None takes torch's global generator.
        """
        t, noise = self.draw(x0, denoiser.schedule, generator)
        return self.at(denoiser, x0, t, noise, cond)

    def draw(
        self, x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw everything that is random in the loss: times (B,) and noise with the shape, dtype and device of x0."""
        device = x0.device if generator is None else generator.device
        t = self.objective.time_sampler(len(x0), schedule, generator=generator, device=device)
        return t.to(x0.device), self.objective.noise.like(x0, generator)

    def at(self, denoiser: Denoiser, x0: Tensor, t: Tensor, noise: Tensor, cond: Condition | None = None) -> Tensor:
        """Return the losses (B,) of images x0 (B, C, H, W) at given times t (B,) and with given noise (B, C, H, W).

        Raises:
            ValueError: the denoiser has another prediction than the objective.
        """
        prediction, schedule = self.objective.prediction, denoiser.schedule
        if denoiser.prediction != prediction:
            raise ValueError(f"prediction={denoiser.prediction}: the objective has {prediction}")
        scales = schedule.exact(t)
        output = denoiser.raw(scales.mix(x0, noise), t, cond, scales=scales)
        target = prediction.target(x0, noise, scales.per_image(x0))
        return self.objective.weighting(scales.to(t.dtype), prediction) * self.objective.distance(output, target)
