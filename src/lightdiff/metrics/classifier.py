"""Classifier: a small convolutional network that reads one data set, and whose last hidden layer measures distances on it.

A classifier is a pair of files: `<name>.safetensors`, and `<name>.json` with how it was trained and its accuracy on test images.
Four come with the package, in `weights/`. `python -m lightdiff.commands.train_classifier` makes others, in `OWN_CLASSIFIERS`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lightdiff.model.limits import check_fit, check_header, check_length
from lightdiff.utils.files import sha256_of
from lightdiff.utils.structure import FINITE, TEXT, Items, Keys, Leaf, is_count

WEIGHTS = Path(__file__).parent / "weights"
OWN_CLASSIFIERS = "data/classifiers"
"""Folder for the classifiers of the user's own data sets."""
NUM_FEATURES = 128
FACTS = Keys(
    dataset=TEXT,
    image_size=Leaf(lambda value: is_count(value) and 1 <= value <= 1024, "a whole number from 1 to 1024"),
    channels=Leaf(lambda value: is_count(value) and value in (1, 3), "1 or 3"),
    class_names=Items(TEXT),
    test_accuracy=FINITE,
    sha256=TEXT,
)
"""What is known of a classifier, as its JSON file says."""


class Classifier(nn.Module):
    """uint8 images (N, C, S, S) to features (N, 128), which are not negative, and logits (N, num_classes).

    Args:
        channels: 1 or 3.
        num_classes: classes of the data set.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *_block(channels, 32),
            *_block(32, 32),
            nn.MaxPool2d(2),
            *_block(32, 64),
            *_block(64, 64),
            nn.MaxPool2d(2),
            *_block(64, NUM_FEATURES),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.to(memory_format=torch.channels_last, dtype=self.head.weight.dtype) / 127.5 - 1
        features = self.blocks(x)
        return features, self.head(features)


def _block(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier and what is known of it.

    Args:
        network: in eval mode.
        facts: dataset, image_size, channels, class_names, test_accuracy, and how it was trained.
        sha256: of the weights file.
    """

    network: Classifier
    facts: dict[str, Any]
    sha256: str


def available(folder: Path | None = None) -> list[str]:
    """Return the names of the classifiers in the package, or in a folder."""
    return sorted(path.stem for path in (folder or WEIGHTS).glob("*.json"))


def load_classifier(dataset: str, folder: Path | None = None) -> TrainedClassifier:
    """Load a classifier of the package, or one of the user's.

    Args:
        dataset: its name.
        folder: where the user's lie; looked into after the package.

    Raises:
        ValueError: there is none, or its files are not those that belong together.
    """
    places = [WEIGHTS] if folder is None else [WEIGHTS, folder]
    place = next((place for place in places if dataset in available(place)), None)
    if place is None:
        choices = dict.fromkeys(name for place in places for name in available(place))
        raise ValueError(f"dataset={dataset}: no classifier for it; choices: {', '.join(choices)}")
    path = place / f"{dataset}.safetensors"
    try:
        check_length(path.with_suffix(".json"))
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        FACTS.check(facts)
        check_header(path)
        with path.open("rb") as file:
            sha256 = sha256_of(file)
        if sha256 != facts["sha256"]:
            raise ValueError(f"its SHA-256 is {sha256[:12]}..., not the {facts['sha256'][:12]}... of its facts")
        weights = load_file(path)
        with torch.device("meta"):
            check_fit(Classifier(facts["channels"], len(facts["class_names"])).state_dict(), weights)
        network = Classifier(facts["channels"], len(facts["class_names"]))
        network.load_state_dict(weights)
    except (OSError, ValueError, RecursionError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"dataset={dataset}: {path} is no classifier that can be used: {reason}") from error
    return TrainedClassifier(network.eval(), facts, sha256)
