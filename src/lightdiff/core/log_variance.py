"""A weighting that is learned together with the network: the uncertainty of the loss at each noise level."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.diffusion import DiffusionObjective
from lightdiff.core.distance import MSE, Distance
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.objective import Draw
from lightdiff.core.scales import Scales
from lightdiff.core.time_sampler import DefaultTime, TimeSampler
from lightdiff.core.weighting import UnitWeighting, Weighting


class LearnedLogVariance(DiffusionObjective):
    """The loss of diffusion models, divided by its learned size at each noise level.

    This is eq. 14 of Karras et al. 2024 (arXiv:2312.02696):

        loss = L / exp(u) + u,    L = weighting(t) * distance(output, target),    u = u(log sigma / alpha)

    The minimum over u is at u = log E[L], so that every noise level counts alike in the gradient whatever the weighting. u is a
    linear function of random Fourier features of log(sigma / alpha) / 4 and begins as 0. It is trained with the network, and
    sampling does not use it. The loss can be negative.

    Args:
        features: number of Fourier features, 1 or more; 128 in the paper.
        weighting, distance, time_sampler, noise: as in `DiffusionObjective`.

    Raises:
        ValueError: features is below 1.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(
        self,
        features: int = 128,
        weighting: Weighting = UnitWeighting(),
        distance: Distance = MSE(),
        time_sampler: TimeSampler = DefaultTime(),
        noise: Noise = GaussianNoise(),
    ) -> None:
        if features < 1:
            raise ValueError(f"features={features}: 1 or more is expected")
        super().__init__(weighting, distance, time_sampler, noise)
        self.features = features
        self.register_buffer("frequencies", 2 * math.pi * torch.randn(features))
        self.register_buffer("phases", 2 * math.pi * torch.rand(features))
        self.log_variance = nn.Linear(features, 1, bias=False)
        nn.init.zeros_(self.log_variance.weight)

    def losses(
        self,
        denoiser: Denoiser,
        average: Denoiser,
        x0: Tensor,
        draw: Draw,
        cond: Condition | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        losses = super().losses(denoiser, average, x0, draw, cond, progress)
        u = self.u(denoiser.schedule.exact(draw.t)).to(losses.dtype)
        return losses / u.exp() + u

    def u(self, scales: Scales) -> Tensor:
        """Return the logarithm u (B,) of the size of the loss, for scales (B,)."""
        # autocast would compute it in 16 bits
        with torch.autocast(scales.alpha.device.type, enabled=False):
            level = (-scales.log_snr / 8).to(self.frequencies.dtype)
            features = math.sqrt(2) * torch.cos(level[:, None] * self.frequencies + self.phases)
            # as in the paper, the sum over features of unit variance keeps a unit variance
            return self.log_variance(features)[:, 0] / math.sqrt(self.features)
