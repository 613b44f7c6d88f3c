"""Draw pictures of the training data at the start of a run: the images themselves, and the same images with noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightdiff.callbacks.common import run_folder
from lightdiff.callbacks.show import show_image
from lightdiff.core.randomness import keyed_generator
from lightdiff.model import DiffusionModel
from lightdiff.utils.captions import captioned, labelled, widened
from lightdiff.utils.images import LARGEST, enlarge, make_grid, save_png, to_uint8

FIRST = 256
"""Pixels of the longer side of the picture of the first image, at least."""


class ShowData(Callback):
    """Draw pictures of the training images into `samples`, once, before the first step.

    - `first.png`: the first training image, with its caption or its label.
    - `data.png`: a grid of training images, each with its caption, or with its label where there is more than one class.
    - `forward.png`: x_t of some of them, from t = 0 to t = 1.
    - `noisy.png`: x0, x_t clipped to the range of the pixel values, and x_t from black, its least value, to white, its largest.

    Args:
        rows: number of rows of the grid.
        columns: number of columns of the grid.
        stages: number of times t, evenly spaced from 0 to 1, each of which is a column of `forward.png` and `noisy.png`.
        seed: key of the random choice of images and of the noise.

    Raises:
        ValueError: a number below 1 or above 1000.
    """

    def __init__(self, rows: int = 8, columns: int = 8, stages: int = 10, seed: int = 0) -> None:
        for name, value in (("rows", rows), ("columns", columns), ("stages", stages)):
            if not 1 <= value <= LARGEST:
                raise ValueError(f"{name}={value}: 1 to {LARGEST} is expected")
        self.rows, self.columns, self.stages, self.seed = rows, columns, stages, seed

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "samples"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0 or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DiffusionModel)
        data = trainer.datamodule  # type: ignore[attr-defined]
        generator = keyed_generator("cpu", "show data", self.seed)
        chosen = torch.randperm(len(data.train_set), generator=generator)[: self.rows * self.columns]
        batch = data.train_set[chosen.tolist()]
        first = data.train_set[[0]]
        for name, picture in {
            "first": _with_labels(first, [f"label: {name}" for name in data.class_names], 1, FIRST),
            "data": _with_labels(batch, data.class_names, self.columns),
            **self._with_noise(pl_module, batch["image"], generator),
        }.items():
            save_png(self.folder / f"{name}.png", picture)
            show_image(trainer, f"data/{name}", picture)

    def _with_noise(self, model: DiffusionModel, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the pictures `forward` and `noisy` of the first images."""

        def noisy(x0: Tensor, t: Tensor) -> Tensor:
            return model.schedule.add_noise(x0, model.objective.noise.like(x0, generator), t)

        def times(t: Tensor) -> list[str]:
            return [f"{time:.2f}" for time in t]

        x0 = model.encode(images[: self.rows])
        t = torch.linspace(0, 1, self.stages)
        x_t = noisy(x0.repeat_interleave(self.stages, dim=0), t.repeat(len(x0)))
        forward = widened(make_grid(to_uint8(model.codec.decode(x_t)), self.stages))

        x0 = model.encode(images[: self.stages])
        each = torch.linspace(0, 1, len(x0))
        x_t = noisy(x0, each)
        low, high = x_t.aminmax()
        whole_range = 2 * (x_t - low) / (high - low).clamp(min=1e-6) - 1
        strips = torch.cat([model.codec.decode(x0), model.codec.decode(x_t), whole_range])
        names = ["x0", "x_t, clipped", f"x_t, {low:.1f} to {high:.1f}"]
        clipped_or_not = widened(make_grid(to_uint8(strips), len(x0)))
        return {
            "forward": captioned(forward, [], times(t), "t"),
            "noisy": captioned(clipped_or_not, names, times(each), "t"),
        }


def _with_labels(batch: dict[str, Any], names: Sequence[str], columns: int, at_least: int = 56) -> Tensor:
    """Return a picture of the images, each below its own caption, or the name of its class if there are several classes."""
    if "caption" in batch:
        return labelled(batch["image"], batch["caption"], columns, at_least)
    if len(names) < 2:
        return enlarge(make_grid(batch["image"], columns), 256)
    return labelled(batch["image"], [names[label] for label in batch["label"].tolist()], columns, at_least)
