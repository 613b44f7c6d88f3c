"""Weightings: how much the loss at each time counts.

Except for `UnitWeighting`, a weighting is given as the weight w on the squared error of x0_hat. The loss, however, measures the
network's output, whose squared error is d times the squared error of x0_hat, with d = `prediction.x0_weight`. So the loss is
multiplied by w / d. With this, a weighting means the same for every prediction. SNR = alpha^2 / sigma^2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.prediction import Prediction

LEAST_SCALE = 1e-6
"""Smallest alpha and sigma in the formulas of the weights, which keeps them finite at t = 0 and t = 1."""


class Weighting(ABC):
    """Base class of the weightings."""

    @abstractmethod
    def __call__(self, alpha: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
        """Return the weights (B,) on the loss of the network's output, for alpha (B,), sigma (B,) and a prediction."""


class X0Weighting(Weighting):
    """Base class of the weightings that are given as a weight on the squared error of x0_hat."""

    def __call__(self, alpha: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
        alpha, sigma = alpha.clamp(min=LEAST_SCALE), sigma.clamp(min=LEAST_SCALE)
        return self.on_x0(alpha, sigma) / prediction.x0_weight(alpha, sigma)

    @abstractmethod
    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Return the weights w (B,) on the squared error of x0_hat, for alpha (B,) and sigma (B,)."""


@dataclass(frozen=True)
class UnitWeighting(Weighting):
    """The weight 1 on the loss of the network's output, whatever it predicts."""

    def __call__(self, alpha: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
        return torch.ones_like(alpha)


@dataclass(frozen=True)
class SNRWeighting(X0Weighting):
    """The weight w = SNR. It gives every prediction the loss that `EpsilonPrediction` has with the weight 1."""

    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (alpha / sigma) ** 2


@dataclass(frozen=True)
class MinSNRWeighting(X0Weighting):
    """The weight w = min(SNR, gamma) (Hang et al. 2023, arXiv:2303.09556, section 3.4).

    Args:
        gamma: upper limit of the weight, above 0.

    Raises:
        ValueError: gamma is not above 0.
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"gamma={self.gamma}: a number above 0 is expected")

    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return ((alpha / sigma) ** 2).clamp(max=self.gamma)


@dataclass(frozen=True)
class EDMWeighting(X0Weighting):
    """The weight of EDM (Karras et al. 2022, arXiv:2206.00364, table 1), here for any alpha.

        w = (s^2 + sigma_data^2) / (s sigma_data)^2,    s = sigma / alpha

    With `EDMPrediction` of the same sigma_data the weight on the output is 1.

    Args:
        sigma_data: standard deviation of the pixel values, above 0.

    Raises:
        ValueError: sigma_data is not above 0.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise ValueError(f"sigma_data={self.sigma_data}: a number above 0 is expected")

    def on_x0(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return 1 / self.sigma_data**2 + (alpha / sigma) ** 2
