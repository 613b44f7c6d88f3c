"""Draw pictures of the training data at the start of a run: the images themselves, and the same images with noise."""

from __future__ import annotations

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import run_folder, tensorboards
from lightdiff.core.randomness import keyed_generator
from lightdiff.lightning import DiffusionModel
from lightdiff.utils.images import LARGEST, enlarge, make_grid, save_png, to_uint8


class ShowData(Callback):
    """Draw `samples/data.png`, a grid of training images, and `samples/forward.png`, x_t of some of them from t = 0 to t = 1.

    Args:
        rows: number of rows of the grid.
        columns: number of columns of the grid.
        stages: number of times t, evenly spaced from 0 to 1, each of which is a column of `forward.png`.
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
        store = trainer.datamodule.train_set  # type: ignore[attr-defined]
        generator = keyed_generator("cpu", "show data", self.seed)
        chosen = torch.randperm(len(store), generator=generator)[: self.rows * self.columns]
        images = store[chosen.tolist()]["image"]
        x0 = pl_module.normalise(images[: self.rows]).repeat_interleave(self.stages, dim=0)
        t = torch.linspace(0, 1, self.stages).repeat(len(x0) // self.stages)
        noise = pl_module.objective.noise.like(x0, generator)
        x_t = pl_module.schedule.add_noise(x0, noise, t)
        pictures = {
            "data": make_grid(images, self.columns),
            "forward": make_grid(to_uint8(pl_module.to_unit_range(x_t)), self.stages),
        }
        for name, picture in pictures.items():
            save_png(self.folder / f"{name}.png", enlarge(picture))
            for logger in tensorboards(trainer):
                logger.experiment.add_image(f"data/{name}", picture, 0)
