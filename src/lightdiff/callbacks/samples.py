"""Pictures while training: a grid of samples and the GIF of their denoising, from the same noise every time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from lightdiff.callbacks.common import run_folder, tensorboards
from lightdiff.lightning import DiffusionModel, Generation
from lightdiff.samplers import Sampler
from lightdiff.utils.images import LARGEST, encode_gif, enlarge, hold_last, make_grid, save_png, to_uint8
from lightdiff.utils.ranks import gather_rows, rank_rows


class SampleImages(Callback):
    """Every few epochs and at the end: `samples/step_NNNNNNN.png` and `.gif`, and both in TensorBoard.

    The noise depends on `seed` alone, so that the pictures of a run show the same images getting better. All processes
    sample their share; training's random numbers are not touched.

    Args:
        sampler, num_steps: how samples are drawn.
        every_n_epochs: epochs between two pictures.
        rows, columns: layout of the grid; rows * columns images are drawn.
        frame_every: sampler steps between two frames of the GIF.
        hold_frames: frames that the result stays on show at the end.
        fps: frames a second.
        show: the noisy images "x_t" or the model's guesses "x0_hat".
        guidance_scale: 1 plainly conditional, 0 unconditional.
        weights: "ema" (where there is an average) or "raw".
        seed: key of the noise.
    """

    def __init__(
        self,
        sampler: Sampler,
        num_steps: int | None,
        every_n_epochs: int = 1,
        rows: int = 3,
        columns: int = 3,
        frame_every: int = 50,
        hold_frames: int = 10,
        fps: float = 5.0,
        show: Literal["x_t", "x0_hat"] = "x_t",
        guidance_scale: float = 1.0,
        weights: Literal["ema", "raw"] = "ema",
        seed: int = 0,
    ) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("frame_every", frame_every)):
            if value < 1:
                raise ValueError(f"{name}={value}: 1 or more is expected")
        for name, value, least in (("rows", rows, 1), ("columns", columns, 1), ("hold_frames", hold_frames, 0)):
            if not least <= value <= LARGEST:
                raise ValueError(f"{name}={value}: {least} to {LARGEST} is expected")
        if not 0 < fps < math.inf:
            raise ValueError(f"fps={fps}: a positive number is expected")
        self.sampler, self.num_steps = sampler, num_steps
        self.every_n_epochs = every_n_epochs
        self.rows, self.columns = rows, columns
        self.frame_every, self.hold_frames, self.fps, self.show = frame_every, hold_frames, fps, show
        self.guidance_scale, self.weights, self.seed = guidance_scale, weights, seed
        self._drawn_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "samples"
        self._generation(pl_module)  # refuses impossible settings before the first step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._drawn_step != trainer.global_step:
            self._draw(trainer, pl_module)

    def _generation(self, pl_module: LightningModule) -> Generation:
        assert isinstance(pl_module, DiffusionModel)
        return Generation.of(
            pl_module,
            sampler=self.sampler,
            num_steps=self.num_steps,
            guidance_scale=self.guidance_scale,
            seed=self.seed,
            weights=self.weights,
        )

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModel)
        self._drawn_step = trainer.global_step
        rows = rank_rows(self.rows * self.columns, trainer.global_rank, trainer.world_size)
        images = gather_rows(self._frames(pl_module, rows))
        if trainer.is_global_zero:
            grids = make_grid(images.transpose(0, 1), self.columns)
            self._publish(trainer, grids, self.folder / f"step_{trainer.global_step:07d}")

    def _frames(self, model: DiffusionModel, rows: range) -> Tensor:
        """uint8 (len(rows), F, C, H, W): every `frame_every`-th state and the result."""
        if not rows:  # more processes than images
            return torch.empty((0, 1, *model.image_shape), dtype=torch.uint8)
        frames = []
        generation = self._generation(model)
        for i, state in enumerate(generation.trajectory(model, rows)):
            if i % self.frame_every == 0 and i < generation.num_steps:
                frames.append(getattr(state, self.show))
        frames.append(state.x_t)
        return to_uint8(model.to_unit_range(torch.stack(frames, dim=1))).cpu()

    def _publish(self, trainer: Trainer, grids: Tensor, path: Path) -> None:
        save_png(path.with_suffix(".png"), enlarge(grids[-1]))
        gif = encode_gif(enlarge(hold_last(list(grids), self.hold_frames)), fps=self.fps)
        path.with_suffix(".gif").write_bytes(gif)
        for logger in tensorboards(trainer):
            height, width = grids.shape[-2:]
            logger.experiment.add_image("samples/grid", grids[-1], trainer.global_step)
            animation = Summary.Image(encoded_image_string=gif, height=height, width=width, colorspace=grids.shape[1])
            summary = Summary(value=[Summary.Value(tag="samples/denoising", image=animation)])
            logger.experiment._get_file_writer().add_summary(summary, trainer.global_step)
