"""Metric: a figure, or several, of generated images."""

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
    """A figure and, where it has one, its spread (a standard deviation)."""

    value: float
    spread: float | None = None


@dataclass(frozen=True)
class Generated:
    """What is measured.

    Args:
        images: uint8 (N, C, H, W).
        features: of the images.
        asked: labels (N,) that the images were to show; None for an unconditional model.
    """

    images: Tensor
    features: Features
    asked: Tensor | None


@dataclass(frozen=True)
class Real:
    """What it is measured against.

    Args:
        reference: statistics of the reference split.
        test_set: the data set's validation split.
    """

    reference: Reference
    test_set: ImageStore


class Metric(ABC):
    """A frozen dataclass whose fields are its settings, which every result states."""

    def check(self, num_samples: int, extractor: FeatureExtractor, conditional: bool) -> None:
        """ValueError where it cannot be computed; called before anything is sampled."""

    def warning(self, num_samples: int, real: Real) -> str | None:
        """What a reader of the figure must know, in one line."""
        return None

    @abstractmethod
    def __call__(self, generated: Generated, real: Real, extractor: FeatureExtractor) -> dict[str, Value]:
        """Values by name."""


class Given(torch.nn.Module):
    """Hands torchmetrics, in place of a network, features that have been computed already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
