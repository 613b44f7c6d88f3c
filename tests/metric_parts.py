"""Stand-ins for metrics: statistics and features that a test chooses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightdiff.data import DiffSet
from lightdiff.metrics import FeatureExtractor, Features, Generated, Real, Reference


class Pixels(FeatureExtractor):
    """Vectors are the pixels themselves, in float64's range of float32."""

    def __init__(self, num_features: int) -> None:
        self.num_features = num_features

    def prepare(self, data: DiffSet, device: torch.device | str) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"name": "pixels", "sha256": "0" * 64, "resizer": "none"}

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        flat = images.flatten(1).float() / 255
        return flat, flat[:, :10]


def reference_of(vectors: Tensor) -> Reference:
    """Statistics of vectors (N, D)."""
    double = vectors.double()
    return Reference(double.sum(0), double.T @ double, len(vectors), vectors[:10_000], {})


def real_of(vectors: Tensor) -> Real:
    return Real(reference_of(vectors), None)  # type: ignore[arg-type]


def generated_of(vectors: Tensor, logits: Tensor | None = None, asked: Tensor | None = None) -> Generated:
    logits = vectors[:, :2] if logits is None else logits
    return Generated(torch.zeros(len(vectors), 1, 1, 1, dtype=torch.uint8), Features(vectors, logits), asked)
