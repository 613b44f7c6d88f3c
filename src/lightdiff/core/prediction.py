"""Predictions: what a network's output means, and how x0_hat follows from it.

The network gets `scale_input(x_t, ...)` and is trained to return `target(...)`; `to_x0` turns its output into x0_hat. Samplers
see x0_hat only, so every prediction works with every schedule and every sampler.

The formulas are those of x_t = alpha * x0 + sigma * noise. The tensors broadcast against each other and keep their floating
dtype. Only `EpsilonPrediction` divides by alpha; the others are exact at alpha = 0 too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.core.needs import ALPHA, Need, check_needs
from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule


class Prediction(ABC):
    """Base class of the predictions."""

    needs: ClassVar[tuple[Need, ...]] = ()
    """What the prediction needs of a schedule."""

    def check(self, schedule: NoiseSchedule) -> None:
        """Check that x0_hat can be computed at every time of the schedule.

        Raises:
            ValueError: at some time it cannot.
        """
        rescaled = getattr(schedule, "zero_terminal_snr", False)
        check_needs(type(self), Prediction, schedule, more=", or zero_terminal_snr=false" if rescaled else "")

    def scale_input(self, x_t: Tensor, scales: Scales) -> Tensor:
        """Return the network's input for x_t: x_t itself unless a subclass scales it."""
        return x_t

    def to_x0(self, output: Tensor, x_t: Tensor, scales: Scales | Tensor, sigma: Tensor | None = None) -> Tensor:
        """Return x0_hat, computed from the network's output at x_t.

        Args:
            output: the network's output (B, ...).
            x_t: noisy images (B, ...).
            scales: the scales at t, or their alpha alone.
            sigma: their sigma, where `scales` is alpha.
        """
        return self._to_x0(output, x_t, _scales(scales, sigma))

    def target(self, x0: Tensor, noise: Tensor, scales: Scales | Tensor, sigma: Tensor | None = None) -> Tensor:
        """Return the output that the network is trained towards, for which `to_x0` returns x0.

        Args:
            x0: images (B, ...).
            noise: noise (B, ...).
            scales, sigma: as in `to_x0`.
        """
        return self._target(x0, noise, _scales(scales, sigma))

    @abstractmethod
    def x0_weight(self, scales: Scales) -> Tensor:
        """Return the factor d in (squared error of the output) = d * (squared error of x0_hat)."""

    @abstractmethod
    def _to_x0(self, output: Tensor, x_t: Tensor, at: Scales) -> Tensor:
        """Return x0_hat, for the scales `at` the time of x_t."""

    @abstractmethod
    def _target(self, x0: Tensor, noise: Tensor, at: Scales) -> Tensor:
        """Return the target of the network, for the scales `at` its time."""


def _scales(scales: Scales | Tensor, sigma: Tensor | None) -> Scales:
    """Return the scales that were given as one object or as alpha and sigma."""
    if isinstance(scales, Scales):
        return scales
    if sigma is None:
        raise TypeError("scales: Scales are expected, or alpha and sigma")
    return Scales(scales, sigma)


@dataclass(frozen=True)
class EpsilonPrediction(Prediction):
    """The output is the noise (Ho et al. 2020, arXiv:2006.11239, eq. 12). It needs alpha > 0 at every time.

    x0_hat = (x_t - sigma * output) / alpha,    d = alpha^2 / sigma^2
    """

    needs: ClassVar[tuple[Need, ...]] = (ALPHA,)

    def _to_x0(self, output: Tensor, x_t: Tensor, at: Scales) -> Tensor:
        return (x_t - at.sigma * output) / at.alpha

    def _target(self, x0: Tensor, noise: Tensor, at: Scales) -> Tensor:
        return noise

    def x0_weight(self, scales: Scales) -> Tensor:
        return (scales.alpha / scales.sigma) ** 2


@dataclass(frozen=True)
class X0Prediction(Prediction):
    """The output is the image: x0_hat = output, d = 1."""

    def _to_x0(self, output: Tensor, x_t: Tensor, at: Scales) -> Tensor:
        return output

    def _target(self, x0: Tensor, noise: Tensor, at: Scales) -> Tensor:
        return x0

    def x0_weight(self, scales: Scales) -> Tensor:
        return torch.ones_like(scales.alpha)


@dataclass(frozen=True)
class VPrediction(Prediction):
    """The output is v = alpha * noise - sigma * x0 (Salimans & Ho 2022, arXiv:2202.00512, appendix D).

    x0_hat = (alpha * x_t - sigma * output) / (alpha^2 + sigma^2),    d = (alpha^2 + sigma^2)^2 / sigma^2
    """

    def _to_x0(self, output: Tensor, x_t: Tensor, at: Scales) -> Tensor:
        return (at.alpha * x_t - at.sigma * output) / (at.alpha**2 + at.sigma**2)

    def _target(self, x0: Tensor, noise: Tensor, at: Scales) -> Tensor:
        return at.alpha * noise - at.sigma * x0

    def x0_weight(self, scales: Scales) -> Tensor:
        return ((scales.alpha**2 + scales.sigma**2) / scales.sigma) ** 2


@dataclass(frozen=True)
class FlowPrediction(Prediction):
    """The output is the velocity noise - x0 of the straight line (Lipman et al. 2022, arXiv:2210.02747).

    x0_hat = (x_t - sigma * output) / (alpha + sigma),    d = ((alpha + sigma) / sigma)^2
    """

    def _to_x0(self, output: Tensor, x_t: Tensor, at: Scales) -> Tensor:
        return (x_t - at.sigma * output) / (at.alpha + at.sigma)

    def _target(self, x0: Tensor, noise: Tensor, at: Scales) -> Tensor:
        return noise - x0

    def x0_weight(self, scales: Scales) -> Tensor:
        return ((scales.alpha + scales.sigma) / scales.sigma) ** 2


@dataclass(frozen=True)
class EDMPrediction(Prediction):
    """The output is scaled so that the network's inputs and targets have unit variance.

        x0_hat = c_skip * x_t + c_out * output(c_in * x_t),    n = sqrt(alpha^2 sigma_data^2 + sigma^2)
        c_skip = alpha sigma_data^2 / n^2,    c_out = sigma sigma_data / n,    c_in = 1 / n,    d = 1 / c_out^2

    These are the scalings of EDM (Karras et al. 2022, arXiv:2206.00364, table 1), here for any alpha.

    Args:
        sigma_data: standard deviation of the pixel values, above 0.

    Raises:
        ValueError: sigma_data is not above 0.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise ValueError(f"sigma_data={self.sigma_data}: a number above 0 is expected")

    def _norm(self, scales: Scales) -> Tensor:
        """Return n, the standard deviation of x_t."""
        return ((scales.alpha * self.sigma_data) ** 2 + scales.sigma**2).sqrt()

    def scale_input(self, x_t: Tensor, scales: Scales) -> Tensor:
        return x_t / self._norm(scales)

    def _to_x0(self, output: Tensor, x_t: Tensor, at: Scales) -> Tensor:
        norm = self._norm(at)
        return (at.alpha * self.sigma_data**2 / norm**2) * x_t + (at.sigma * self.sigma_data / norm) * output

    def _target(self, x0: Tensor, noise: Tensor, at: Scales) -> Tensor:
        # this is (x0 - c_skip * x_t) / c_out, in a form that is not 0/0 at sigma = 0
        norm = self._norm(at)
        return (at.sigma * x0 - at.alpha * self.sigma_data**2 * noise) / (self.sigma_data * norm)

    def x0_weight(self, scales: Scales) -> Tensor:
        return (self._norm(scales) / (scales.sigma * self.sigma_data)) ** 2
