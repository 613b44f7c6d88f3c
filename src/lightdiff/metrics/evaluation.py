"""Evaluation: how a model is measured. The command and the callback do it by the same code."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lightdiff.data import DiffSet
from lightdiff.lightning import DiffusionModel, Generation
from lightdiff.metrics.base import Generated, Metric, Real, Value
from lightdiff.metrics.extractor import FeatureExtractor, Features
from lightdiff.metrics.reference import kept_reference
from lightdiff.utils.images import to_uint8
from lightdiff.utils.progress import progress as show_progress
from lightdiff.utils.ranks import from_first, gather_rows, process, rank_rows

Split = Literal["train", "val"]


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found.

    Args:
        values: by name.
        images_per_second: at which samples were drawn, over all processes.
        seconds: that each part took.
    """

    values: dict[str, Value]
    images_per_second: float
    seconds: dict[str, float]


class Evaluation:
    """Metrics of a model's samples against a data set.

    All processes call it together: each samples and reads its share, and gets the same figures as one process alone. Images are
    rounded to uint8 once, the real ones are not augmented, everything random has a key of its own.

    Args:
        metrics: what to compute, by name.
        extractor: gives the space in which distances are measured; prepared.
        data: the data set, set up.
        num_samples: images drawn; those of a conditional model show every class in turn.
        split: which of the real images are the reference.
        cache_dir: folder in which their statistics are kept.
        batch_size: images at a time; None: 128. The figures do not depend on it.

    Raises:
        ValueError: no samples, or a metric without what it needs.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        extractor: FeatureExtractor,
        data: DiffSet,
        *,
        num_samples: int,
        split: Split = "train",
        cache_dir: Path,
        batch_size: int | None = None,
    ) -> None:
        if num_samples < 1:
            raise ValueError(f"num_samples={num_samples}: 1 or more is expected")
        self.metrics = dict(metrics)
        self.extractor = extractor
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seconds: dict[str, float] = {}
        self._store = data.train_set if split == "train" else data.val_set
        self._data, self._cache_dir = data, cache_dir
        self._facts = {
            "dataset": data.name,
            "split": split,
            "num_images": len(self._store),
            "image_shape": [data.channels, *data.image_size],
            "resize_mode": data.resize_mode,
            "content": self._store.fingerprint,
        }
        self._real: Real | None = None

    def check(self, conditional: bool) -> None:
        """ValueError where one of the metrics cannot be computed for such a model; nothing is sampled."""
        for metric in self.metrics.values():
            metric.check(self.num_samples, self.extractor, conditional)

    @property
    def real(self) -> Real:
        """The reference, read from the cache or computed when it is first asked for, by all processes together."""
        if self._real is None:
            with self._timed("reference"):
                facts = {**self._facts, "extractor": self.extractor.describe()}
                reference = kept_reference(self._cache_dir, self._store, self.extractor, facts)
            self._real = Real(reference, self._data.val_set)
        return self._real

    def warnings(self) -> list[str]:
        """What a reader of the figures must know."""
        found = (metric.warning(self.num_samples, self.real) for metric in self.metrics.values())
        return [line for line in found if line is not None]

    def __call__(
        self,
        model: DiffusionModel,
        generation: Generation,
        *,
        names: Sequence[str] | None = None,
        progress: bool = False,
    ) -> Outcome:
        """Draw the samples and compute the metrics `names` (None: all) of them."""
        real = self.real
        rows = rank_rows(self.num_samples, *process())
        with self._timed("sampling"):
            images = torch.empty((0, *model.image_shape), dtype=torch.uint8)
            if rows:
                drawn = generation.images(model, rows, batch_size=self.batch_size, progress=progress)
                images = to_uint8(drawn).cpu()
            images = gather_rows(images)
        with self._timed("features"), show_progress("reading the features of the samples", shown=progress):
            features = self._features(images)
        asked = None if generation.choice is None else torch.arange(self.num_samples) % len(generation.choice)
        with self._timed("metrics"), show_progress("computing the metrics", shown=progress):
            values: dict[str, Value] = {}
            if process()[0] == 0:
                generated = Generated(images, features, asked)
                for name in self.metrics if names is None else names:
                    values.update(self.metrics[name](generated, real, self.extractor))
            values = from_first(values)
        return Outcome(values, self.num_samples / self.seconds["sampling"], dict(self.seconds))

    def _features(self, images: Tensor) -> Features:
        share = rank_rows(len(images), *process())
        own = self.extractor(images[share.start : share.stop])
        return Features(gather_rows(own.vectors), gather_rows(own.logits))

    def protocol(self) -> dict[str, Any]:
        """What a figure must carry to be comparable, apart from the model and its sampler."""
        return {
            "num_samples": self.num_samples,
            "reference": self._facts,
            "extractor": self.extractor.describe(),
        }

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
