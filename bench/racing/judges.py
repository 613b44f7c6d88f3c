"""Who measures: distances of samples to all training images, in the features of several networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightdiff.data import DiffSet
from lightdiff.metrics import FID, ClassifierExtractor, Evaluation, FeatureExtractor, InceptionExtractor
from lightdiff.metrics.base import Real
from parts.settings import Skipped
from racing.protocol import SIZES
from racing.task import Task
from racing.transformer import TransformerExtractor


@dataclass(frozen=True)
class Judge:
    """FID in the features of one network.

    Args:
        extractor: the network, prepared.
        real: statistics of all training images.
    """

    extractor: FeatureExtractor
    real: Real

    def distance(self, images: Tensor) -> float:
        """Return the distance of uint8 images (N, C, S, S)."""
        return FID().distance(self.extractor(images).vectors, self.real)

    def floor(self, count: int) -> float:
        """Return the distance that so many random training images would have, to first order."""
        return FID().bias(count, self.real)

    def describe(self) -> dict[str, Any]:
        """Return name, SHA-256 and what else is known of the network."""
        return self.extractor.describe()


def race_data(task: Task) -> DiffSet:
    """Return the data set of a task at its own size, set up."""
    data = DiffSet(task.data, data_dir=task.data_dir, image_size=SIZES[task.data], resize_mode="none")
    data.setup()
    return data


def judges_of(task: Task, inception: Path | None) -> dict[str, Judge]:
    """Return the judges of a data set by name: the project's classifier, the held-out transformer and, where it is, Inception.

    Args:
        task: says data set and device.
        inception: file with the weights of Inception v3; None: those that torch's cache holds, or none.
    """
    data = race_data(task)
    extractors: dict[str, FeatureExtractor] = {
        "classifier": ClassifierExtractor(),
        "transformer": TransformerExtractor(),
    }
    kept = Path(torch.hub.get_dir(), "checkpoints", "weights-inception-2015-12-05-6726825d.pth")
    if inception or kept.is_file():
        extractors["inception"] = InceptionExtractor(str(inception or kept))
    found = {}
    for name, extractor in extractors.items():
        try:
            extractor.prepare(data, task.device)
        except ValueError as error:
            raise Skipped(str(error)) from error
        cache = Path(task.data_dir, "reference")
        found[name] = Judge(extractor, Evaluation({"fid": FID()}, extractor, data, num_samples=2, cache_dir=cache).real)
    return found
