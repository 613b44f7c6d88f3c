"""Metric: computes one or more figures from generated and real images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightdiff.data import ImageStore
from lightdiff.metrics.extractor import FeatureExtractor, Features
from lightdiff.metrics.reference import Reference


class Value(NamedTuple):
    """A figure and its spread, a standard deviation; None for a figure without one."""

    value: float
    spread: float | None = None


@dataclass(frozen=True)
class Generated:
    """The generated images that are measured.

    Args:
        images: uint8 (N, C, H, W).
        features: the extractor's features of the images.
        asked: labels (N,) of the classes that the images were to show; None for an unconditional model.
    """

    images: Tensor
    features: Features
    asked: Tensor | None


@dataclass(frozen=True)
class Real:
    """The real images that generated ones are measured against.

    Args:
        reference: statistics of the reference split.
        test_set: the data set's validation split.
    """

    reference: Reference
    test_set: ImageStore


class Metric(ABC):
    """Base class of the metrics: frozen dataclasses whose fields are the settings that every result states."""

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool, num_real: int) -> None:
        """Check, before anything is sampled, that the metric can be computed.

        Args:
            num_samples: number of images that will be generated.
            extractor: the extractor of their features.
            conditional: whether the model is conditional.
            num_real: number of real images in the reference split.

        Raises:
            ValueError: the metric cannot be computed; the message names the setting.
        """

    def warning(self, num_samples: int, real: Real) -> str | None:
        """Return one line that a reader of the figure must know; None if there is nothing to warn of."""
        return None

    @abstractmethod
    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        """Compute the metric's values, by name."""


class Given(torch.nn.Module):
    """Stand-in for torchmetrics' network that returns its input, so that torchmetrics can be fed features."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
