"""FeatureExtractor: from images to the vectors that distances are measured in. Its identity is part of every result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightdiff.data import SOURCES, DiffSet, HuggingFace
from lightdiff.metrics.classifier import NUM_FEATURES, OWN_CLASSIFIERS, available, load_classifier
from lightdiff.utils.files import user_path
from lightdiff.utils.quoting import word
from lightdiff.utils.text import shorten


class Features(NamedTuple):
    """float32 `vectors (N, D)` and `logits (N, K)` on the CPU."""

    vectors: Tensor
    logits: Tensor


class FeatureExtractor(ABC):
    """A frozen network. `prepare` loads it, after which it can be called.

    Attributes:
        num_features: D.
        chunk: images at a time; always so many, so that an image has the same features in whatever batch it comes.
        class_names: what the logits stand for, where they stand for the classes of a data set.
    """

    num_features: int
    chunk: int = 64
    class_names: list[str] | None = None

    @abstractmethod
    def prepare(self, data: DiffSet, device: torch.device | str) -> None:
        """Load the weights for measuring images like those of `data`.

        Raises:
            ValueError: the weights cannot be had, or do not fit the data set.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a result must say of it: name, SHA-256 of the weights, resizer."""

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and logits of uint8 images (chunk, C, H, W) on the device."""

    device: torch.device | str = "cpu"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (N, C, H, W).

        Raises:
            TypeError: images that have not been rounded to gray levels yet.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images of {images.dtype}: uint8 is expected, rounded once (see utils.images.to_uint8)")
        vectors, logits = [torch.empty(0, self.num_features)], [torch.empty(0, 1)]
        for chunk in images.split(self.chunk):
            full = F.pad(chunk, (0, 0, 0, 0, 0, 0, 0, self.chunk - len(chunk))).to(self.device)
            both = self.features(full)
            vectors.append(both[0][: len(chunk)].float().cpu())
            logits.append(both[1][: len(chunk)].float().cpu())
        return Features(torch.cat(vectors), torch.cat(logits[1:] or logits))


class ClassifierExtractor(FeatureExtractor):
    """The classifier of a data set, the package's or one's own: a fixed, offline distance for small images.

    Images of another size than the classifier's: a border that `pad` added is cut off; everything else is resized, bilinear with
    antialiasing.

    Args:
        dataset: whose classifier; None: that of the data set which is measured, whose classes it must then know.
        weights: folder with one's own classifiers.
    """

    num_features = NUM_FEATURES

    def __init__(self, dataset: str | None = None, weights: str = OWN_CLASSIFIERS) -> None:
        self.dataset = dataset
        self.weights = weights

    def prepare(self, data: DiffSet, device: torch.device | str) -> None:
        name, folder = self.dataset or str(data.name), user_path(self.weights)
        if name not in [*available(), *available(folder)]:
            known = ", ".join([*available(), *available(folder)])
            raise ValueError(
                f"dataset={name}: no classifier for it; choices: {known}, or one of its own: {_command(data, name, folder)}"
            )
        self._trained = load_classifier(name, folder)
        facts = self._trained.facts
        if data.channels != facts["channels"]:
            raise ValueError(
                f"dataset={facts['dataset']}: its classifier reads images of {facts['channels']} channels, not {data.channels}"
            )
        same = not data.is_set_up or list(data.class_names) == facts["class_names"]
        if not same and self.dataset is None:
            raise ValueError(
                f"dataset=null: the classifier {name} knows the classes {_listed(facts['class_names'])}, but the data set has "
                f"{_listed(data.class_names)}; choices: dataset={name}, for its distances all the same, "
                f"or a data set of another name with a classifier of its own: {_command(data, 'NAME', folder)}"
            )
        self.class_names = facts["class_names"] if same else None
        self._size = facts["image_size"]
        self._cut = data.resize_mode == "pad"
        self.device = device
        self._network = self._trained.network.to(device).to(memory_format=torch.channels_last)

    def describe(self) -> dict[str, Any]:
        facts = self._trained.facts
        return {
            "name": f"classifier-{facts['dataset']}",
            "sha256": self._trained.sha256,
            "test_accuracy": facts["test_accuracy"],
            "resizer": f"{'cut' if self._cut else 'bilinear, antialiased'} to {self._size}x{self._size}",
        }

    def native(self, images: Tensor) -> Tensor:
        """uint8 images (N, C, H, W) at the classifier's own size."""
        size = (self._size, self._size)
        height, width = images.shape[-2:]
        if (height, width) == size:
            return images
        if self._cut and min(height, width) >= self._size:
            top, left = (height - self._size) // 2, (width - self._size) // 2
            return images[..., top : top + self._size, left : left + self._size]
        return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._network(self.native(images))


def _command(data: DiffSet, name: str, folder: Path) -> str:
    """Return the command that trains a classifier of this data set."""
    known = next((known for known, kind in SOURCES.items() if kind is type(data.source)), "huggingface")
    words = [known, "--data-dir", data.data_dir, "--name", name, "--image-size", str(max(data.image_size))]
    if isinstance(data.source, HuggingFace):
        words += ["--path", data.source.path]
    if data.channels != data.source.usual_channels:
        words += ["--channels", str(data.channels)]
    if folder != Path(OWN_CLASSIFIERS):
        words += ["--folder", str(folder)]
    return f"python -m lightdiff.commands.train_classifier {' '.join(map(word, words))}"


def _listed(names: Sequence[str]) -> str:
    return shorten(", ".join(names))
