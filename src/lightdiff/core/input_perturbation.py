"""Input perturbation: train with more noise in the input than in the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.diffusion import DiffusionObjective
from lightdiff.core.distance import MSE, Distance
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import UnitWeighting, Weighting


@dataclass(frozen=True)
class PerturbedDraw(Draw):
    """As `Draw`, with a second noise.

    Args:
        perturbation: noise (B, C, H, W) that is added to the input only.
    """

    perturbation: Tensor


class InputPerturbation(DiffusionObjective):
    """The loss of diffusion models at a perturbed input, the target of which stays (Ning et al. 2023, arXiv:2301.11706, alg. 1).

        y_t = alpha x0 + sigma (noise + gamma xi),    loss = weighting(t) * distance(output at y_t, target of x0 and noise)

    xi is noise as well. In sampling the network is given x_t that its own errors have changed. In training such inputs do not
    occur; here they do.

    Args:
        gamma: strength of the perturbation, 0 or more. The paper recommends 0.1.
        weighting, distance, time_sampler, noise: as in `DiffusionObjective`.

    Raises:
        ValueError: gamma is negative.
    """

    def __init__(
        self,
        gamma: float = 0.1,
        weighting: Weighting = UnitWeighting(),
        distance: Distance = MSE(),
        time_sampler: TimeSampler = DefaultTime(),
        noise: Noise = GaussianNoise(),
    ) -> None:
        if not gamma >= 0:
            raise ValueError(f"gamma={gamma}: 0 or more is expected")
        super().__init__(weighting, distance, time_sampler, noise)
        self.gamma = gamma

    def draw(
        self,
        shape: Sequence[int],
        schedule: NoiseSchedule,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> PerturbedDraw:
        draw = super().draw(shape, schedule, generator, dtype)
        return PerturbedDraw(draw.t, draw.noise, self.noise.like(draw.noise, generator))

    def mixed_in(self, draw: Draw) -> Tensor:
        assert isinstance(draw, PerturbedDraw)
        return draw.noise + self.gamma * draw.perturbation
