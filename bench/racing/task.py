"""What a contender is told: which data, for how long, with which seed, on what."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from parts.settings import Settings
from racing.protocol import CHANNELS, SIZES


@dataclass(frozen=True)
class Task:
    """One heat: a contender, a data set, a seed.

    Args:
        data: mnist, fashion or cifar.
        seed: of weights, order and noise.
        marks: seconds after the start of the process at which snapshots are wanted; the last one ends the training.
        folder: of this heat, for whatever the contender writes.
        prepared: folder that the heats of a race share, where `prepare` puts what costs no time of the race.
        data_dir: folder with the data sets' own files.
        device: cpu or cuda.
        threads: of PyTorch.
        bfloat16: whether the device is faster in bfloat16, which every contender then uses.
    """

    data: str
    seed: int
    marks: tuple[float, ...]
    folder: str
    prepared: str
    data_dir: str
    device: str = "cpu"
    threads: int = 1
    bfloat16: bool = False

    @property
    def size(self) -> int:
        """Side of the images."""
        return SIZES[self.data]

    @property
    def channels(self) -> int:
        """1 gray, 3 RGB."""
        return CHANNELS[self.data]

    @property
    def settings(self) -> Settings:
        """The same for the parts that all benches share."""
        return Settings(device=self.device, threads=self.threads, seed=self.seed, data_dir=Path(self.data_dir))

    @property
    def dtype(self) -> torch.dtype | None:
        """Type that products are computed in: bfloat16 where the device is faster with it, None (float32) elsewhere."""
        return torch.bfloat16 if self.bfloat16 else None

    @property
    def images_file(self) -> Path:
        """File with all training images and their labels."""
        return Path(self.prepared, f"{self.data}.pt")

    def load(self) -> tuple[Tensor, Tensor]:
        """Return the training images, uint8 (N, C, S, S), and their labels, int64 (N,)."""
        held = torch.load(self.images_file, weights_only=True)
        return held["images"], held["labels"]

    def write(self, path: Path) -> None:
        """Write it for the process that trains."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Task:
        """Return the task in a file."""
        content = json.loads(path.read_text())
        return cls(**{**content, "marks": tuple(content["marks"])})
