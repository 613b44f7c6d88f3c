"""The base class of the objectives of few-step models, whose targets are made of x0_hat itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lightdiff.core.denoiser import Denoiser
from lightdiff.core.diffusion import DiffusionObjective
from lightdiff.core.objective import Draw
from lightdiff.core.scales import Scales
from lightdiff.core.shapes import per_image
from lightdiff.core.weighting import LEAST_SCALE


class FewStepObjective(DiffusionObjective):
    """Base class of the objectives that compare x0_hat with an image that x0_hat itself has helped to make.

        loss = weighting(t) * distance(sqrt(d) x0_hat, sqrt(d) target),    d = prediction.x0_weight(t)

    sqrt(d) turns errors of x0_hat into errors of the network's output, so that weighting and distance mean the same as in
    `DiffusionObjective`. No gradient goes through the target.
    """

    def direction(self, x0: Tensor, x_t: Tensor, draw: Draw, at_t: Scales) -> Tensor:
        """Return the image (B, ...) towards which a small step from x_t goes: the one that x_t was made of.

        Args:
            x0: clean images (B, ...).
            x_t: noisy images (B, ...).
            draw: what was drawn for them.
            at_t: exact scales (B,) at the times of x_t.
        """
        return x0

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
