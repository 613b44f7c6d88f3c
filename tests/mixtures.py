"""Mixtures of Gaussians, of which the best denoisers, the classifier of noisy images and the density are known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightdiff.core import NoiseSchedule


class Mixture:
    """Images of three classes with the shares 0.2, 0.3 and 0.5; those of each are N(mean_k, std_k^2), pixel by pixel."""

    def __init__(self, schedule: NoiseSchedule, stds: tuple[float, float, float]) -> None:
        generator = torch.Generator().manual_seed(3)
        self.schedule, self.std = schedule, torch.tensor(stds, dtype=torch.float64)
        self.means = 2 * torch.rand(3, 1, 2, 3, generator=generator, dtype=torch.float64) - 1
        self.log_share = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()

    def log_joint(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """log p(class, x) (B, 3) but for a constant, at scales (B,)."""
        variance = (alpha[:, None] * self.std) ** 2 + sigma[:, None] ** 2
        away = x[:, None] - alpha[:, None, None, None, None] * self.means
        return self.log_share - away.square().sum((2, 3, 4)) / (2 * variance) - x[0].numel() / 2 * variance.log()

    def log_density(self, x0: Tensor) -> Tensor:
        """The natural log of the density of images (B, C, H, W), (B,)."""
        one, none = torch.ones(len(x0), dtype=torch.float64), torch.zeros(len(x0), dtype=torch.float64)
        return self.log_joint(x0, one, none).logsumexp(1) - x0[0].numel() / 2 * math.log(2 * math.pi)

    def of_classes(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[x0 | x_t, class], (B, 3, C, H, W)."""
        at = self.schedule.exact(t)
        alpha, sigma = at.alpha[:, None], at.sigma[:, None]
        gain = (alpha * self.std**2 / ((alpha * self.std) ** 2 + sigma**2))[..., None, None, None]
        return self.means + gain * (x_t[:, None] - alpha[..., None, None, None] * self.means)

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        at = self.schedule.exact(t)
        weights = self.log_joint(x_t, at.alpha, at.sigma).softmax(1)
        return (weights[..., None, None, None] * self.of_classes(x_t, t)).sum(1)

    def classifier(self, u: Tensor, flow_time: Tensor) -> Tensor:
        """The exact p(class | x_t), as logits (B, 3)."""
        alpha, sigma = 1 - flow_time, flow_time
        if (self.std == self.std[0]).all():
            # also where alpha is 0 and x cannot be had from u
            variance = (alpha * self.std[0]) ** 2 + sigma**2
            along = torch.einsum("bchw,kchw->bk", u, self.means) * (alpha**2 + sigma**2)[:, None]
            squares = self.means.square().sum((1, 2, 3)) * alpha[:, None] ** 2 / 2
            return self.log_share + (along - squares) / variance[:, None]
        x = u * ((alpha**2 + sigma**2) / alpha)[:, None, None, None]
        return self.log_joint(x, alpha, sigma)
