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

from lightdiff.core.needs import siblings
from lightdiff.core.prediction import Prediction
from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule

LARGEST_WEIGHT = 1e5
"""Largest weight of the loss at any time. The weight SNR on x0_hat reaches 2.4e4 at the first timestep of cosine betas."""
LARGEST_LAST_WEIGHT = 1e3
"""Largest weight of the loss at t = 1. It is smaller, because a network that predicts the noise with 5e3 there does not learn."""
LEAST_SCALE = 1e-6
"""Smallest alpha and sigma in the formulas of the weights, which keeps them finite at t = 0 and t = 1."""


class Weighting(ABC):
    """Base class of the weightings."""

    def check(self, prediction: Prediction, schedule: NoiseSchedule) -> None:
        """Check that the weights are bounded at the times at which a network is trained.

        Raises:
            ValueError: a weight is above `LARGEST_WEIGHT`, or above `LARGEST_LAST_WEIGHT` at t = 1.
        """
        excess = self._excess(prediction, schedule)
        if excess is not None:
            bounded = [kind.__name__ for kind in siblings(Weighting) if kind()._excess(prediction, schedule) is None]
            raise ValueError(
                f"weighting={type(self).__name__}: with prediction={type(prediction).__name__} the loss is multiplied by "
                f"{excess} is expected there; choices: {', '.join(bounded)}, or another prediction"
            )

    def _excess(self, prediction: Prediction, schedule: NoiseSchedule) -> str | None:
        """Return the first weight that is too large, in words; None where all are bounded."""
        t = schedule.snap(torch.linspace(0, 1, 1001, dtype=torch.float64))
        weights = self(schedule(t), prediction)
        for k, limit in ((int(weights.argmax()), LARGEST_WEIGHT), (-1, LARGEST_LAST_WEIGHT)):
            if not weights[k] <= limit:
                return f"{weights[k]:.2g} at t = {t[k]:g} of this schedule, and at most {limit:,.0f}"
        return None

    @abstractmethod
    def __call__(self, scales: Scales, prediction: Prediction) -> Tensor:
        """Return the weights (B,) on the loss of the network's output, for scales (B,) and a prediction."""


class X0Weighting(Weighting):
    """Base class of the weightings that are given as a weight on the squared error of x0_hat."""

    def __call__(self, scales: Scales, prediction: Prediction) -> Tensor:
        scales = Scales(scales.alpha.clamp(min=LEAST_SCALE), scales.sigma.clamp(min=LEAST_SCALE))
        return self.on_x0(scales) / prediction.x0_weight(scales)

    @abstractmethod
    def on_x0(self, scales: Scales) -> Tensor:
        """Return the weights w (B,) on the squared error of x0_hat, for scales (B,)."""


@dataclass(frozen=True)
class UnitWeighting(Weighting):
    """The weight 1 on the loss of the network's output, whatever it predicts."""

    def __call__(self, scales: Scales, prediction: Prediction) -> Tensor:
        return torch.ones_like(scales.alpha)


@dataclass(frozen=True)
class SNRWeighting(X0Weighting):
    """The weight w = SNR. It gives every prediction the loss that `EpsilonPrediction` has with the weight 1."""

    def on_x0(self, scales: Scales) -> Tensor:
        return (scales.alpha / scales.sigma) ** 2


@dataclass(frozen=True)
class TruncatedSNRWeighting(X0Weighting):
    """The weight w = max(SNR, 1) (Salimans & Ho 2022, arXiv:2202.00512, section 4); unlike SNR it is not 0 at alpha = 0."""

    def on_x0(self, scales: Scales) -> Tensor:
        return ((scales.alpha / scales.sigma) ** 2).clamp(min=1)


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

    def on_x0(self, scales: Scales) -> Tensor:
        return ((scales.alpha / scales.sigma) ** 2).clamp(max=self.gamma)


@dataclass(frozen=True)
class P2Weighting(X0Weighting):
    """The weight P2, perception prioritized (Choi et al. 2022, arXiv:2204.00227).

        lambda'_t = lambda_t / (k + SNR)^gamma

    lambda_t is the weight of DDPM, which is 1 on the noise and so SNR on x0_hat: w = SNR / (k + SNR)^gamma. Compared with DDPM,
    images with little noise count less.

    Args:
        k: number above 0 that is added to the SNR.
        gamma: exponent, 0 or more; 0 gives the weight of DDPM.

    Raises:
        ValueError: k is not above 0, or gamma is below 0.
    """

    k: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not self.k > 0:
            raise ValueError(f"k={self.k}: a number above 0 is expected")
        if not self.gamma >= 0:
            raise ValueError(f"gamma={self.gamma}: a number from 0 up is expected")

    def on_x0(self, scales: Scales) -> Tensor:
        snr = (scales.alpha / scales.sigma) ** 2
        return snr / (self.k + snr) ** self.gamma


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

    def on_x0(self, scales: Scales) -> Tensor:
        return 1 / self.sigma_data**2 + (scales.alpha / scales.sigma) ** 2
