"""Pictures of what few steps make of the same noise, for models that are trained to need few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightdiff.callbacks.common import forget_pictures, run_folder, with_conditions
from lightdiff.callbacks.show import show_image
from lightdiff.callbacks.signals import unless_stopped
from lightdiff.core import Guidance
from lightdiff.model import DiffusionModel, Generation, example_of, pictured
from lightdiff.samplers import Sampler
from lightdiff.utils.captions import captioned, widened
from lightdiff.utils.collectives import gather_rows
from lightdiff.utils.images import LARGEST, below, make_grid, save_png, to_uint8
from lightdiff.utils.ranks import rank_rows


class CompareSteps(Callback):
    """Draw `samples/steps_NNNNNNN.png`, named by the optimizer step, every few epochs and at the end of the run.

    Each row has the images after another number of steps of the sampler, which is written beside it. In a column all images begin
    with the same noise. It depends on `seed` alone, and so is the same in all pictures of a run, and that of `SampleImages`.
    Every process draws a share of the columns; the random numbers of training are not touched.

    Args:
        sampler: the sampler that draws the images.
        steps: its numbers of steps, from the top row to the bottom row.
        columns: images in a row.
        every_n_epochs: epochs between two pictures.
        guidance_scale: 1 plainly conditional, 0 unconditional, above 1 guided; None: the scale of `guidance`, or 1.
        guidance: kind of guidance; None: classifier-free guidance.
        labels: classes to draw in turn, numbers or names, or None for every class.
        weights: "ema", the average of the weights where the model has one, or "raw".
        seed: key of the noise.

    Raises:
        ValueError: a number out of its range, or, when training is set up, a sampler that does not fit the model.
    """

    def __init__(
        self,
        sampler: Sampler,
        steps: Sequence[int] = (1, 2, 4),
        columns: int = 8,
        every_n_epochs: int = 1,
        guidance_scale: float | None = None,
        guidance: Guidance | None = None,
        labels: int | str | Sequence[int | str] | None = None,
        weights: Literal["ema", "raw"] = "ema",
        seed: int = 0,
    ) -> None:
        if not 1 <= len(steps) <= LARGEST or min(steps) < 1:
            raise ValueError(f"steps={list(steps)}: a list of at least one number from 1 up is expected")
        if not 1 <= columns <= LARGEST:
            raise ValueError(f"columns={columns}: 1 to {LARGEST} is expected")
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs={every_n_epochs}: 1 or more is expected")
        self.sampler, self.steps, self.columns, self.every_n_epochs = sampler, list(steps), columns, every_n_epochs
        self.guidance, self.guidance_scale = guidance, guidance_scale
        self.labels, self.weights, self.seed = labels, weights, seed
        self._drawn_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "samples"
        # settings that cannot work are refused here, before the first step
        try:
            self._generations(pl_module, trainer)
        except ValueError as error:
            raise ValueError(f"callbacks.few_step: {error}") from error

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forget_pictures(trainer, self.folder, "steps")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            unless_stopped(trainer, lambda: self._draw(trainer, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._drawn_step != trainer.global_step:
            self._draw(trainer, pl_module)

    def _generations(self, pl_module: LightningModule, trainer: Trainer) -> list[Generation]:
        assert isinstance(pl_module, DiffusionModel)
        generations = [
            Generation.of(
                pl_module,
                **example_of(pl_module),
                sampler=self.sampler,
                num_steps=num_steps,
                guidance=self.guidance,
                guidance_scale=self.guidance_scale,
                labels=self.labels,
                seed=self.seed,
                weights=self.weights,
            )
            for num_steps in self.steps
        ]
        return [with_conditions(trainer, pl_module, each, self.columns, self.labels) for each in generations]

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModel)
        self._drawn_step = trainer.global_step
        columns = rank_rows(self.columns, trainer.global_rank, trainer.world_size)
        generations = self._generations(pl_module, trainer)
        images = gather_rows(self._images(pl_module, generations, columns)).transpose(0, 1).flatten(0, 1)
        if not trainer.is_global_zero:
            return
        rows = [f"{num_steps} step{'s' * (num_steps > 1)}" for num_steps in self.steps]
        conditions = pictured(generations[0], pl_module, range(self.columns))
        if conditions is not None:
            images, rows = below(to_uint8(conditions), images), ["condition", *rows]
        picture = captioned(widened(make_grid(images, self.columns)), rows, [])
        save_png(self.folder / f"steps_{trainer.global_step:07d}.png", picture)
        show_image(trainer, "samples/steps", picture)

    def _images(self, model: DiffusionModel, generations: list[Generation], columns: range) -> Tensor:
        """Return the images of these columns after each number of steps, uint8 (len(columns), len(steps), C, H, W)."""
        rows = [generation.images(model, columns) for generation in generations]
        return to_uint8(torch.stack(rows, dim=1)).cpu()
