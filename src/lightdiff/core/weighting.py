"""Weighting: how much the error at each time counts.

All but `unit` are weights w on the squared error of x0_hat. The loss measures the output, whose squared error is d times that,
with d = `prediction.x0_weight`; so it is multiplied by w / d, which is right for every prediction. SNR = alpha^2 / sigma^2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.prediction import Prediction

LEAST_SCALE = 1e-6
"""alpha and sigma are taken to be at least this, so that all weights stay finite at t = 0 and t = 1."""


class Weighting(ABC):
    """Base of the weightings."""

    @abstractmethod
    def __call__(self, alpha: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
        """Weights (B,) in output space from alpha (B,), sigma (B,) and the prediction."""


class X0Weighting(Weighting):
    """Base of the weightings that are defined on x0_hat."""

    def __call__(self, alpha: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
        alpha, sigma = alpha.clamp(min=LEAST_SCALE), sigma.clamp(min=LEAST_SCALE)
        return self.on_x0(alpha, sigma) / prediction.x0_weight(alpha, sigma)

    @abstractmethod
    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """w (B,), the weight on the squared error of x0_hat."""


@dataclass(frozen=True)
class UnitWeighting(Weighting):
    """1 in output space: the plain loss of what the network predicts."""

    def __call__(self, alpha: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
        return torch.ones_like(alpha)


@dataclass(frozen=True)
class SNRWeighting(X0Weighting):
    """w = SNR, which is the plain loss of epsilon whatever is predicted."""

    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (alpha / sigma) ** 2


@dataclass(frozen=True)
class MinSNRWeighting(X0Weighting):
    """w = min(SNR, gamma) (Hang et al. 2023, arXiv:2303.09556, section 3.4).

    Raises:
        ValueError: gamma not above 0.
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"gamma={self.gamma}: a number above 0 is expected")

    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return ((alpha / sigma) ** 2).clamp(max=self.gamma)


@dataclass(frozen=True)
class EDMWeighting(X0Weighting):
    """w = (s^2 + sigma_data^2) / (s sigma_data)^2 with s = sigma/alpha (Karras et al. 2022, arXiv:2206.00364, table 1).

    Raises:
        ValueError: sigma_data not above 0.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise ValueError(f"sigma_data={self.sigma_data}: a number above 0 is expected")

    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return 1 / self.sigma_data**2 + (alpha / sigma) ** 2
