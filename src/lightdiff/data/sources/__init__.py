"""The data sets, each in a small file. `SOURCES` gives them short names for plain Python, as in `DiffSet("mnist")`."""

from __future__ import annotations

from lightdiff.data.sources.base import Source, Splits
from lightdiff.data.sources.cars import StanfordCars
from lightdiff.data.sources.cifar import CIFAR
from lightdiff.data.sources.digits import Digits
from lightdiff.data.sources.emoji import Emoji
from lightdiff.data.sources.folder import Folder
from lightdiff.data.sources.huggingface import HuggingFace
from lightdiff.data.sources.mnist import MNIST, FashionMNIST
from lightdiff.data.sources.paired import Paired

SOURCES: dict[str, type[Source]] = {
    "mnist": MNIST,
    "fashion": FashionMNIST,
    "cifar": CIFAR,
    "digits": Digits,
    "folder": Folder,
    "paired": Paired,
    "cars": StanfordCars,
    "emoji": Emoji,
}

__all__ = [
    "CIFAR",
    "MNIST",
    "SOURCES",
    "Digits",
    "Emoji",
    "FashionMNIST",
    "Folder",
    "HuggingFace",
    "Paired",
    "Source",
    "Splits",
    "StanfordCars",
]
