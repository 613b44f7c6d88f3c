"""Reference: the statistics of the real images that metrics need. They are computed once and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightdiff.core.randomness import keyed_generator
from lightdiff.data import ImageStore
from lightdiff.metrics.extractor import FeatureExtractor
from lightdiff.model.limits import check_header
from lightdiff.utils.collectives import from_first, gather_rows, gathered
from lightdiff.utils.files import replaced
from lightdiff.utils.ranks import rank_and_world_size, rank_rows
from lightdiff.utils.text import shorten

MAX_VECTORS = 10_000
"""Number of vectors kept for metrics that compare image with image; chosen at random if there are more images."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """Statistics of N real images.

    Args:
        total: sum of the feature vectors (D,), float64.
        outer: sum of the outer products of the vectors with themselves (D, D), float64.
        count: N.
        vectors: at most `MAX_VECTORS` of the vectors (n, D), float32.
        facts: everything that the statistics depend on; its hash names their file.
    """

    total: Tensor
    outer: Tensor
    count: int
    vectors: Tensor
    facts: dict[str, Any]

    @classmethod
    def of(cls, store: ImageStore, extractor: FeatureExtractor, facts: dict[str, Any]) -> Reference:
        """Compute the statistics of all images in `store`; each process reads its share.

        Args:
            store: the real images, unaugmented.
            extractor: computes the feature vectors; prepared.
            facts: everything that the statistics depend on.
        """
        dimension, count = extractor.num_features, len(store)
        total, outer = torch.zeros(dimension).double(), torch.zeros(dimension, dimension).double()
        chosen = torch.randperm(count, generator=keyed_generator("cpu", "reference"))[:MAX_VECTORS].sort().values
        kept = torch.empty(0, dimension)
        share = rank_rows(count, *rank_and_world_size())
        for start in range(share.start, share.stop, 512):
            rows = range(start, min(start + 512, share.stop))
            vectors = extractor(store[rows]["image"]).vectors
            total += vectors.double().sum(0)
            outer += vectors.double().T @ vectors.double()
            kept = torch.cat([kept, vectors[chosen[(chosen >= rows.start) & (chosen < rows.stop)] - start]])
        shares = gathered((total, outer))
        return cls(sum(part[0] for part in shares), sum(part[1] for part in shares), count, gather_rows(kept), facts)

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance of the vectors (D, D), float64."""
        mean = self.total / self.count
        return (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)

    def save(self, path: Path) -> None:
        """Write the statistics into a safetensors file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"total": self.total, "outer": self.outer, "vectors": self.vectors, "count": torch.tensor(self.count)}
        with replaced(path) as temporary:
            save_file(tensors, temporary, metadata={"facts": json.dumps(self.facts)})

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read the statistics that `save` has written.

        Raises:
            SafetensorError, KeyError, ValueError: the file was not written by `save`, or its numbers are no statistics.
        """
        check_header(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in ("total", "outer", "vectors", "count")}
            facts = json.loads((file.metadata() or {})["facts"])
        if tensors["count"].shape != ():
            raise ValueError(f"count has the shape {list(tensors['count'].shape)}")
        found = cls(tensors["total"], tensors["outer"], int(tensors["count"]), tensors["vectors"], facts)
        found.check()
        return found

    def check(self) -> None:
        """Check that the numbers can be the statistics of N images.

        Raises:
            ValueError: they cannot; the message names the tensor.
        """
        if self.count < 1:
            raise ValueError(f"count={self.count}, 1 or more is expected")
        width = self.total.numel()
        shapes = {"total": [width], "outer": [width, width], "vectors": [min(self.count, MAX_VECTORS), width]}
        for name, shape in shapes.items():
            tensor: Tensor = getattr(self, name)
            dtype = torch.float32 if name == "vectors" else torch.float64
            if list(tensor.shape) != shape or tensor.dtype != dtype:
                raise ValueError(f"{name} is {list(tensor.shape)} of {tensor.dtype}, not {shape} of {dtype}")
            if not tensor.isfinite().all():
                raise ValueError(f"{name} has numbers that are not finite")
        squares = self.outer.diagonal()
        rounding = 1e-9 * squares.abs().max()
        if (self.outer - self.outer.T).abs().max() > rounding or (
            squares - self.total**2 / self.count
        ).min() < -rounding:
            raise ValueError("outer is no sum of products: it is not symmetric, or a variance is negative")


def key_of(facts: dict[str, Any]) -> str:
    """Return the name of the file of statistics, a hash of everything that they depend on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


def kept_reference(folder: Path, store: ImageStore, extractor: FeatureExtractor, facts: dict[str, Any]) -> Reference:
    """Return the statistics from `folder`, or compute them and keep them there. All processes call this together.

    Args:
        folder: folder of statistics; it may be moved, and shared among projects.
        store: the real images, unaugmented.
        extractor: computes the feature vectors; prepared.
        facts: everything that the statistics depend on: data set, split, content, how images were brought to size, extractor.
    """
    path = folder / f"{key_of(facts)}.safetensors"
    reference = from_first(_read(path, facts, extractor.num_features) if rank_and_world_size()[0] == 0 else None)
    if reference is None:
        reference = Reference.of(store, extractor, facts)
        if rank_and_world_size()[0] == 0:
            try:
                reference.save(path)
            except OSError as error:
                log.warning("%s: the statistics of the real images cannot be kept (%s)", path, error.strerror)
    return reference


def _read(path: Path, facts: dict[str, Any], width: int) -> Reference | None:
    """Return the statistics in the file; None if there is no such file, or, with a warning, if they are not the ones asked for.

    Args:
        path: the file.
        facts: everything that the statistics depend on.
        width: number of features of an image.
    """
    if not path.is_file():
        return None
    try:
        reference = Reference.load(path)
        asked = json.loads(json.dumps(facts))
        if reference.facts != asked:
            raise ValueError(f"it holds other facts than are asked for: {_difference(reference.facts, asked)}")
        if reference.total.numel() != width or reference.count != facts.get("num_images", reference.count):
            raise ValueError(f"it has {reference.count} images of {reference.total.numel()} features each")
        return reference
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError, OSError) as error:
        log.warning("%s: not used, the statistics are computed anew (%s)", path, " ".join(str(error).split())[:200])
        return None


def _difference(found: Any, asked: dict[str, Any]) -> str:
    """Return the first fact that differs, with both values."""
    theirs = found if isinstance(found, dict) else {}
    name = next(name for name in [*asked, *theirs] if name not in theirs or theirs[name] != asked.get(name))
    return f"{name}={shorten(theirs.get(name))} instead of {shorten(asked.get(name))}"
