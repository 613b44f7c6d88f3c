"""A contender of the race: one class in a file of its own, bench/race/NAME.py. docs/race.md tells how to write one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from racing.clock import Snapshots
from racing.protocol import SIZES
from racing.task import Task

Draw = Callable[[range], Tensor]
"""From numbers of images to the images, float (B, C, S, S) in [-1, 1], or larger ones with the border that was padded."""


class Entry(ABC):
    """A package with its documented recipe.

    Attributes:
        packages: distributions that it needs, by the names that pip knows; their versions become part of a result.
        recipe: where the recipe is documented.
        changed: what differs from it here, and why.
        data: data sets that it takes part in.
        with_classes: whether the network is told the classes; if so, the samples show all of them equally often.
    """

    packages: ClassVar[Sequence[str]]
    recipe: ClassVar[str]
    changed: ClassVar[str] = "nothing"
    data: ClassVar[Sequence[str]] = tuple(SIZES)
    with_classes: ClassVar[bool] = False

    def prepare(self, task: Task) -> None:
        """Write what training needs, such as image files, into `task.prepared`; no clock runs yet."""
        return

    @abstractmethod
    def train(self, task: Task, snapshots: Snapshots) -> None:
        """Train in a process of its own, whose start was the start of the clock.

        Call `snapshots.after_step(save)` after each optimizer step; it ends the training by an exception when the time is up.
        """

    @abstractmethod
    def sampler(self, task: Task, file: Path) -> Draw:
        """Return what draws images by the weights in a snapshot's file, with at most 20 evaluations of the network for each."""

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages.

        Raises:
            PackageNotFoundError: one is not installed.
        """
        return {name: importlib.metadata.version(name) for name in self.packages}

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in self.packages if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def load_entry(path: Path) -> Entry:
    """Return the contender in a file.

    Raises:
        ValueError: the file defines no contender, or several.
    """
    # under a name of its own, since a file may be called like the package that it is about
    name = f"race_entry_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == name]
    kinds = [kind for kind in own if issubclass(kind, Entry)]
    if len(kinds) != 1:
        raise ValueError(f"{path}: one class derived from racing.entry.Entry is expected, and there are {len(kinds)}")
    return kinds[0]()


def entry_files(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the files of contenders by their names, in alphabetical order within each folder."""
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.py"))}


def padded(images: Tensor, side: int) -> Tensor:
    """Images (N, C, S, S) with a black border, (N, C, side, side), for networks that halve the side several times."""
    before, after = (side - images.shape[-1]) // 2, (side - images.shape[-1] + 1) // 2
    return F.pad(images, (before, after, before, after))


def batches(task: Task, images: Tensor, labels: Tensor, size: int, mirror: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled epochs without end: images in [-1, 1] and labels on the task's device; an incomplete last batch is left out.

    Args:
        task: says seed and device.
        images: uint8 (N, C, S, S).
        labels: int64 (N,).
        size: of a batch.
        mirror: mirror every second image at random.
    """
    random = torch.Generator().manual_seed(task.seed)
    size = min(size, len(images))
    while True:
        for rows in torch.randperm(len(images), generator=random)[: len(images) // size * size].split(size):
            batch = images[rows]
            if mirror:
                turned = torch.rand(len(rows), generator=random) < 0.5
                batch = torch.where(turned[:, None, None, None], batch.flip(-1), batch)
            yield batch.to(task.device).float() / 127.5 - 1, labels[rows].to(task.device)
