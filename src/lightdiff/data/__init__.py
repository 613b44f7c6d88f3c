"""Load images for training: `DiffSet` and the data sets that it knows.

source (files on disk) --load--> image store (uint8, in memory or read lazily) --batch order--> loader --> batches
"""

from lightdiff.data.diffset import DiffSet
from lightdiff.data.errors import DataError, DownloadError
from lightdiff.data.image_store import ImageStore
from lightdiff.data.sources import (
    CIFAR,
    MNIST,
    SOURCES,
    Digits,
    Emoji,
    FashionMNIST,
    Folder,
    HuggingFace,
    Paired,
    Source,
    Splits,
    StanfordCars,
)

__all__ = [
    "CIFAR",
    "MNIST",
    "SOURCES",
    "DataError",
    "DiffSet",
    "Digits",
    "DownloadError",
    "Emoji",
    "FashionMNIST",
    "Folder",
    "HuggingFace",
    "ImageStore",
    "Paired",
    "Source",
    "Splits",
    "StanfordCars",
]
