"""Store images between disk and batch: all of them in memory, or as files that are read when their batch is due.

Both kinds of store return the same batch for the same rows: {"image": uint8 (B, C, H, W), "label": int64 (B,)}, with captions and
columns beside them where the images have some (`lightdiff.data.annotations`).
"""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightdiff.data.annotations import NO_ANNOTATIONS, Annotations
from lightdiff.data.errors import DataError
from lightdiff.data.image_file import check_readable, read_image
from lightdiff.data.in_flight import in_flight
from lightdiff.data.resize import Fit
from lightdiff.data.traces import ends_of, sampled

if TYPE_CHECKING:
    from typing_extensions import Self

OnCorrupted = Literal["refuse", "skip"]
"""What unreadable images lead to: the data set is refused, or they are left out."""
MAX_REPORTED = 20
"""Number of unreadable images that are reported one by one; the others are only counted."""

log = logging.getLogger(__name__)


class ImageStore(Dataset[dict[str, Any]], ABC):
    """Images of one shape (C, H, W) with labels (N,), indexed by a whole batch of rows at a time.

    `annotations` are the captions and columns of the images, where they have some.
    """

    labels: Tensor
    annotations: Annotations = NO_ANNOTATIONS

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def __getitem__(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return the images `rows` as one batch."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of every image."""

    @abstractmethod
    def in_memory(self) -> MemoryStore:
        """Return a store that holds the same images in memory."""

    def relabelled(self, numbers: Tensor) -> Self:
        """Return a store of the same images, of which those with label i have label `numbers[i]`, int64 (classes,)."""
        store = copy.copy(self)
        # a hash of the former labels may be among the attributes
        store.__dict__.pop("fingerprint", None)
        store.labels = numbers[self.labels]
        return store

    def captioned(self, names: Sequence[str], templates: Sequence[str]) -> Self:
        """Return a store of the same images with captions made of the names of their classes, if they have none of their own."""
        store = copy.copy(self)
        store.annotations = self.annotations.with_captions_of_classes(self.labels, names, templates)
        return store

    def readable(self) -> ImageStore:
        """Return a store of the images that can be read, and report the others.

        Raises:
            DataError: none of the images can be read.
        """
        return self

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the store's content: it changes with the images, their order, their size and their labels."""

    @property
    def portable_fingerprint(self) -> str:
        """Hash of the images as they were found, by which a run knows its data again; see `lightdiff.data.fingerprint`."""
        return self.fingerprint

    def _annotated(self) -> list[bytes]:
        """Return bytes that change with the captions and columns, for a hash; [] where there are none."""
        return [repr(fact).encode() for fact in self.annotations.facts()]

    @property
    def num_bytes(self) -> int:
        """Bytes of memory that all images take when decoded."""
        channels, height, width = self.image_shape
        return len(self) * channels * height * width


class MemoryStore(ImageStore):
    """Images in one tensor, from which indexing takes a batch.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        annotations: captions and columns of the images.
    """

    def __init__(self, images: Tensor, labels: Tensor, annotations: Annotations = NO_ANNOTATIONS) -> None:
        self.images = images.contiguous()
        self.labels = labels
        self.annotations = annotations

    def __getitem__(self, rows: Sequence[int]) -> dict[str, Any]:
        index = torch.as_tensor(rows, dtype=torch.int64).to(self.images.device, non_blocking=True)
        batch = {"image": self.images.index_select(0, index), "label": self.labels.index_select(0, index)}
        return {**batch, **self.annotations.batch(rows, index)}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.images.shape
        return channels, height, width

    def in_memory(self) -> MemoryStore:
        return self

    def on(self, device: torch.device) -> MemoryStore:
        """Return a copy of the store on a device, where its batches are then put together."""
        return MemoryStore(self.images.to(device), self.labels.to(device), self.annotations.on(device))

    @cached_property
    def fingerprint(self) -> str:
        return _sha256(self.image_shape, self.images.numpy(), self.labels.numpy(), *self._annotated())


class DecodingStore(ImageStore):
    """Encoded images that are decoded and brought to size when they are asked for.

    Args:
        labels: int64 (N,).
        channels: 1 reads grayscale, 3 reads RGB, 2 and 4 the same with the transparency as the last channel (see `read_image`).
        fit: brings each image to its size.
        max_pixels: images with more pixels are refused.
        value_range: the numbers that are black and white, or None for the range of their type (see `read_image`).
        background: the level on which transparent parts are laid, 0 black to 255 white.
        annotations: captions and columns of the images.
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        channels: int,
        fit: Fit,
        max_pixels: int,
        value_range: tuple[float, float] | None = None,
        background: int = 0,
        annotations: Annotations = NO_ANNOTATIONS,
    ) -> None:
        check_readable(channels)
        self.labels = labels
        self.channels = channels
        self.fit = fit
        self.max_pixels = max_pixels
        self.value_range = value_range
        self.background = background
        self.annotations = annotations

    @abstractmethod
    def name_of(self, row: int) -> str:
        """Return the name by which messages call this image."""

    @abstractmethod
    def encoded(self, row: int) -> bytes | Path:
        """Return the content of an encoded image, or its file.

        Raises:
            DataError: there is none; the message names the image.
        """

    def file(self, row: int) -> BinaryIO | Path:
        """Return the file of an image, or its content as an open file."""
        encoded = self.encoded(row)
        return encoded if isinstance(encoded, Path) else io.BytesIO(encoded)

    def select(self, rows: Sequence[int]) -> Self:
        """Return a store of only these images, in this order; a subclass adds what it holds of each image."""
        chosen = copy.copy(self)
        # a hash of all images may be among the attributes
        chosen.__dict__.pop("fingerprint", None)
        chosen.labels, chosen.annotations = self.labels[list(rows)], self.annotations.select(rows)
        return chosen

    @abstractmethod
    def identity(self) -> list[Any]:
        """Return facts that change when an image changes, found without decoding any."""

    def listing(self) -> list[Any]:
        """Return facts of all images, such as names and sizes, that copies of the data share."""
        return []

    @cached_property
    def fingerprint(self) -> str:
        settings: tuple[Any, ...] = (self.channels, self.fit.size, self.fit.mode, self.value_range)
        settings += (self.background,) if self.background else ()
        return _sha256((settings, self.identity()), self.labels.numpy(), *self._annotated())

    @property
    def portable_fingerprint(self) -> str:
        return _sha256(self.listing(), self.labels.numpy(), *map(self._ends, sampled(len(self))), *self._annotated())

    def _ends(self, row: int) -> bytes:
        try:
            return ends_of(self.encoded(row))
        # refused when it is read
        except DataError:
            return b""

    def __getitem__(self, rows: Sequence[int]) -> dict[str, Any]:
        index = torch.as_tensor(rows, dtype=torch.int64)
        batch = {"image": torch.stack([self.read(row) for row in rows]), "label": self.labels.index_select(0, index)}
        return {**batch, **self.annotations.batch(rows, index)}

    def read(self, row: int) -> Tensor:
        """Decode one image and bring it to size, uint8 (C, H, W).

        Raises:
            DataError: it cannot be decoded or does not fit; the message names the image.
        """
        with in_flight.image():
            image = read_image(
                self.file(row),
                self.channels,
                self.max_pixels,
                name=self.name_of(row),
                value_range=self.value_range,
                background=self.background,
            )
            try:
                return self.fit(image[None])[0]
            except ValueError as error:
                raise DataError(f"{self.name_of(row)}: {error}") from error

    def readable(self) -> ImageStore:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            errors = list(pool.map(self._error, range(len(self))))
        bad = [error for error in errors if error is not None]
        for error in bad[:MAX_REPORTED]:
            log.warning("left out: %s", error)
        if len(bad) > MAX_REPORTED:
            log.warning("... and %d more", len(bad) - MAX_REPORTED)
        if len(bad) == len(self):
            raise DataError(f"none of the {len(self)} images can be read, the first: {bad[0]}")
        return self.select([row for row, error in enumerate(errors) if error is None]) if bad else self

    def _error(self, row: int) -> DataError | None:
        """Return the error that reading the image raises; None if it can be read."""
        try:
            self.read(row)
        except DataError as error:
            return error
        return None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.channels, *self.fit.size

    def in_memory(self) -> MemoryStore:
        images = torch.empty((len(self), *self.image_shape), dtype=torch.uint8)
        # threads are enough, because Pillow decodes outside the interpreter lock
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for row, image in enumerate(pool.map(self.read, range(len(self)))):
                    images[row] = image
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return MemoryStore(images, self.labels, self.annotations)


def _sha256(described: Any, *arrays: Any) -> str:
    """Return a hash of the text of `described` and of the bytes of the arrays."""
    digest = hashlib.sha256(repr(described).encode())
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()
