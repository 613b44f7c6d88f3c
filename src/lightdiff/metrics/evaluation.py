"""Evaluation: measures a model. The command eval.py and the callback of training both use it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lightdiff.core.randomness import keyed_generator
from lightdiff.data import DiffSet
from lightdiff.metrics.base import Generated, Metric, Real, Value
from lightdiff.metrics.extractor import FeatureExtractor, Features
from lightdiff.metrics.reference import kept_reference
from lightdiff.model import DiffusionModel, Generation, conditioned_like
from lightdiff.utils.collectives import from_first, gather_rows
from lightdiff.utils.images import to_uint8
from lightdiff.utils.progress import progress as show_progress
from lightdiff.utils.ranks import rank_and_world_size, rank_rows

Split = Literal["train", "val", "test"]
DESCRIBED = ("name", "sha256", "resizer")
"""What the description of an extractor has at least."""


@dataclass(frozen=True)
class Outcome:
    """The result of an evaluation.

    Args:
        values: the metrics' values by name.
        images_per_second: rate at which samples were drawn, over all processes.
        seconds: time that each part of the evaluation took, by name.
    """

    values: dict[str, Value]
    images_per_second: float
    seconds: dict[str, float]


class Evaluation:
    """Measurement of a model's samples against the real images of a data set.

    All processes call it together. Each draws and reads its share, and all get the figures that one process alone would get.
    Generated images are rounded to uint8 once, real ones are not augmented, and everything random has a key of its own.

    Args:
        metrics: the metrics to compute, by name.
        extractor: computes the features in which images are compared; prepared before `check`.
        data: the data set, set up.
        num_samples: number of images to draw. Those of a conditional model show every class in turn. A model that is conditioned
            on images gets those of the validation images in turn.
        split: the real images that serve as reference, "train", "val", or "test", where the data set keeps some apart.
        cache_dir: folder in which the statistics of the reference are kept.
        batch_size: images at a time, or None for 128. The figures do not depend on it.

    Raises:
        ValueError: `num_samples` is below 1, a metric does not say its settings, the images are neither gray nor RGB, or the data
            set has no such split.
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
        for name, metric in metrics.items():
            if not (isinstance(metric, Metric) and dataclasses.is_dataclass(metric)):
                raise ValueError(
                    f"metrics.{name}={type(metric).__name__}: a lightdiff.metrics.Metric is expected that is a dataclass, "
                    "because its fields are the settings that every result states"
                )
        if data.channels not in (1, 3):
            raise ValueError(
                f"metrics={', '.join(metrics)}: images of 1 or 3 channels are expected, and those of the data set have "
                f"{data.channels}"
            )
        self.metrics = dict(metrics)
        self.extractor = extractor
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seconds: dict[str, float] = {}
        self._store = data.splits.of(split)
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
        """Check that all metrics can be computed for a conditional or an unconditional model; nothing is sampled.

        Raises:
            ValueError: a metric cannot be computed, or the extractor does not say what it is; the message names the setting.
        """
        missing = [key for key in DESCRIBED if key not in self.extractor.describe()]
        if missing:
            raise ValueError(
                f"extractor={type(self.extractor).__name__}: every result states its {', '.join(DESCRIBED)}, but its describe() "
                f"leaves out {', '.join(missing)}"
            )
        for metric in self.metrics.values():
            metric.check(self.num_samples, self.extractor, conditional, len(self._store))

    @property
    def real(self) -> Real:
        """The real images, with statistics that are read from the cache or computed at the first use.

        The first use must happen in all processes together.
        """
        if self._real is None:
            with self._timed("reference"):
                facts = {**self._facts, "extractor": self.extractor.describe()}
                reference = kept_reference(self._cache_dir, self._store, self.extractor, facts)
            self._real = Real(reference, self._data.val_set)
        return self._real

    def warnings(self) -> list[str]:
        """Return the lines that a reader of the figures must know."""
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
        """Draw samples and compute their metrics.

        Args:
            model: the model.
            generation: how samples are drawn.
            names: the metrics to compute, or None for all.
            progress: show a progress bar.
        """
        real = self.real
        generation, asked = self.wished(model, generation)
        rows = rank_rows(self.num_samples, *rank_and_world_size())
        with self._timed("sampling"):
            images = torch.empty((0, *model.image_shape), dtype=torch.uint8)
            if rows:
                drawn = generation.images(model, rows, batch_size=self.batch_size, progress=progress)
                images = to_uint8(drawn).cpu()
            images = gather_rows(images)
        with self._timed("features"), show_progress("reading the features of the samples", shown=progress):
            features = self._features(images)
        with self._timed("metrics"), show_progress("computing the metrics", shown=progress):
            values: dict[str, Value] = {}
            if rank_and_world_size()[0] == 0:
                generated = Generated(images, features, asked)
                for name in self.metrics if names is None else names:
                    values.update(self.metrics[name](generated, real, self.extractor))
            values = from_first(values)
        return Outcome(values, self.num_samples / self.seconds["sampling"], dict(self.seconds))

    def wished(self, model: DiffusionModel, generation: Generation) -> tuple[Generation, Tensor | None]:
        """Return how samples are drawn and the class of each, int64 (num_samples,); None for an unconditional model.

        Samples of a conditioner without classes, such as one that reads captions, get the conditions of real images of the split,
        evenly spread over it, and show the classes of these.
        """
        conditioner = model.conditioning
        if conditioner is None or generation.choice is None or generation.condition is not None or conditioner.by_class:
            return generation, generation.labels_of_rows(range(self.num_samples))
        count = len(self._store)
        # more samples than images show each image equally often
        shown = [i * max(1, count // self.num_samples) % count for i in range(self.num_samples)]
        batch = self._store[shown]
        chance = torch.rand(self.num_samples, generator=keyed_generator("cpu", "evaluation", generation.seed))
        labels = batch["label"]
        return dataclasses.replace(generation, choice=conditioner.choice_of(batch, chance), labels=labels), labels

    def _features(self, images: Tensor) -> Features:
        """Return the features of all images; each process computes those of its share."""
        share = rank_rows(len(images), *rank_and_world_size())
        own = self.extractor(images[share.start : share.stop])
        return Features(gather_rows(own.vectors), gather_rows(own.logits))

    def conditioned(self, model: DiffusionModel, generation: Generation) -> Generation:
        """Return the generation with the validation images as conditions, for a model that is conditioned on images."""
        return conditioned_like(generation, model, self._data.val_set, self.num_samples)

    def protocol(self) -> dict[str, Any]:
        """Return all that two figures must have in common to be comparable, apart from the model and its sampler."""
        return {
            "num_samples": self.num_samples,
            "reference": self._facts,
            "extractor": self.extractor.describe(),
        }

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Record the seconds that the block takes."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
