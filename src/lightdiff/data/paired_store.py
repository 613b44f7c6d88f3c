"""Stores of images that each have a second image, which is the condition of the first; a batch has it under "condition"."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightdiff.data.errors import DataError
from lightdiff.data.file_store import FileStore
from lightdiff.data.image_store import DecodingStore, MemoryStore

if TYPE_CHECKING:
    from typing_extensions import Self


class PairedMemoryStore(MemoryStore):
    """Images in memory, with a second tensor of conditions, uint8 (N, C', H, W)."""

    conditions: Tensor

    @classmethod
    def of(cls, store: MemoryStore, conditions: Tensor) -> PairedMemoryStore:
        """Return a store of the same images with these conditions."""
        paired = cls.__new__(cls)
        paired.__dict__.update({name: value for name, value in vars(store).items() if name != "fingerprint"})
        paired.conditions = conditions.contiguous()
        return paired

    def __getitem__(self, rows: Sequence[int]) -> dict[str, Any]:
        index = torch.as_tensor(rows, dtype=torch.int64).to(self.conditions.device, non_blocking=True)
        return {**super().__getitem__(rows), "condition": self.conditions.index_select(0, index)}

    def on(self, device: torch.device) -> PairedMemoryStore:
        return PairedMemoryStore.of(super().on(device), self.conditions.to(device))

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((tuple(self.images.shape), tuple(self.conditions.shape))).encode())
        for tensor in (self.images, self.labels, self.conditions):
            digest.update(tensor.numpy().tobytes())
        for fact in self._annotated():
            digest.update(fact)
        return digest.hexdigest()

    @property
    def num_bytes(self) -> int:
        return super().num_bytes + self.conditions.numel()


class PairedDecodingStore(DecodingStore):
    """Base of the stores of encoded images with a store of as many other images, which are their conditions.

    A subclass names this class first and then the kind of store that its images are in.
    """

    conditions: DecodingStore

    @classmethod
    def of(cls, store: DecodingStore, conditions: DecodingStore) -> Self:
        """Return a store of the same images with these conditions."""
        paired = cls.__new__(cls)
        paired.__dict__.update({name: value for name, value in vars(store).items() if name != "fingerprint"})
        paired.conditions = conditions
        return paired

    def __getitem__(self, rows: Sequence[int]) -> dict[str, Any]:
        return {**super().__getitem__(rows), "condition": self.conditions[rows]["image"]}

    def in_memory(self) -> PairedMemoryStore:
        return PairedMemoryStore.of(super().in_memory(), self.conditions.in_memory().images)

    def select(self, rows: Sequence[int]) -> Self:
        chosen = super().select(rows)
        chosen.conditions = self.conditions.select(rows)
        return chosen

    def listing(self) -> list[Any]:
        return [*super().listing(), *self.conditions.listing()]

    def identity(self) -> list[Any]:
        settings = (self.conditions.channels, self.conditions.fit.size, self.conditions.fit.mode)
        # the kind of store that a subclass names after this class has the method
        own = super().identity()  # type: ignore[safe-super]
        return [*own, settings, *self.conditions.identity()]

    @property
    def num_bytes(self) -> int:
        return super().num_bytes + self.conditions.num_bytes

    def _ends(self, row: int) -> bytes:
        return super()._ends(row) + self.conditions._ends(row)

    def _error(self, row: int) -> DataError | None:
        return super()._error(row) or self.conditions._error(row)


class PairedFileStore(PairedDecodingStore, FileStore):
    """Image files, each with a condition in another file."""
