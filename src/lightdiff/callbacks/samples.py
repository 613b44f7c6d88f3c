"""Draw pictures while training: a grid of samples and a GIF of their denoising, from the same noise every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightdiff.callbacks.common import forget_pictures, run_folder, shows_progress, with_conditions
from lightdiff.callbacks.show import boards_of, show_animation, show_image
from lightdiff.callbacks.signals import unless_stopped
from lightdiff.callbacks.strips import Strip, check_stages
from lightdiff.core import Guidance
from lightdiff.model import DiffusionModel, Generation, example_of, pictured
from lightdiff.model.loop import last_state
from lightdiff.samplers import DDIM, Sampler, SamplerState
from lightdiff.utils.captions import labelled
from lightdiff.utils.collectives import gather_rows
from lightdiff.utils.files import write_picture
from lightdiff.utils.images import (
    FASTEST_GIF,
    LARGEST,
    beside,
    encode_gif,
    enlarge,
    hold_last,
    make_grid,
    save_png,
    to_uint8,
)
from lightdiff.utils.progress import progress
from lightdiff.utils.ranks import rank_rows

GIF_FRAMES = 30
"""Most frames of a GIF where `frame_every` is None, without the held ones."""

MOVING_ON_BOARD = 16
"""Most images of the animation in the loggers. TensorBoard's event file keeps every one of a run. The GIF beside it shows all."""


class SampleImages(Callback):
    """Draw `samples/step_NNNNNNN.png` and `.gif` every few epochs and at the end of the run, also for the loggers.

    The noise depends on `seed` alone, so that the pictures of a run show the same images getting better. Every process draws a
    share of the images; the random numbers of training are not touched. A model that is conditioned on images gets the conditions
    of the first validation images, each of which is shown at the left of its sample. A model that reads the images' own captions
    shows the examples of its conditioner, and the PNG has each above its image.

    Args:
        sampler: the sampler that draws the images.
        num_steps: steps of the sampler; None: every timestep, of which there are usually 1,000.
        every_n_epochs: epochs between two pictures.
        rows, columns: layout of the grid, which has rows * columns images.
        frame_every: sampler steps between two frames of the GIF; None: so many that the GIF has at most 30 frames.
        hold_frames: number of further frames for which the GIF shows the result.
        fps: frames of the GIF in a second.
        show: "x_t", the noisy images, or "x0_hat", the model's guesses of the clean ones.
        guidance_scale: 1 plainly conditional, 0 unconditional, above 1 guided; None: the scale of `guidance`, or 1.
        guidance: kind of guidance; None: classifier-free guidance.
        labels: classes to draw in turn, numbers or names, or None for every class (with condition images, the class of each).
        weights: "ema", the average of the weights where the model has one, or "raw".
        seed: key of the noise.
        fast_steps: where `num_steps` is None, draw with so many steps of DDIM (eta = 0) instead, on the sampler's own grid of
            times; None: draw every timestep.
        strip_stages: draw also `samples/strip_NNNNNNN.png`, the first image at so many evenly spaced stages from noise to the
            result; None: no strip.

    Raises:
        ValueError: a number out of its range, or, when training is set up, a sampler that does not fit the model.
    """

    def __init__(
        self,
        sampler: Sampler,
        num_steps: int | None,
        every_n_epochs: int = 1,
        rows: int = 3,
        columns: int = 3,
        frame_every: int | None = None,
        hold_frames: int = 10,
        fps: float = 5.0,
        show: Literal["x_t", "x0_hat"] = "x_t",
        guidance_scale: float | None = None,
        guidance: Guidance | None = None,
        labels: int | str | Sequence[int | str] | None = None,
        weights: Literal["ema", "raw"] = "ema",
        seed: int = 0,
        fast_steps: int | None = None,
        strip_stages: int | None = None,
    ) -> None:
        check_stages(strip_stages)
        counts = {"fast_steps": fast_steps, "every_n_epochs": every_n_epochs, "frame_every": frame_every}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ValueError(f"{name}={count}: 1 or more is expected")
        for name, value, least in (("rows", rows, 1), ("columns", columns, 1), ("hold_frames", hold_frames, 0)):
            if not least <= value <= LARGEST:
                raise ValueError(f"{name}={value}: {least} to {LARGEST} is expected")
        if not 0.1 <= fps <= FASTEST_GIF:
            raise ValueError(f"fps={fps}: 0.1 to {FASTEST_GIF} is expected (players slow a faster GIF down)")
        self.sampler, self.num_steps, self.fast_steps = sampler, num_steps, fast_steps
        self.every_n_epochs = every_n_epochs
        self.rows, self.columns = rows, columns
        self.frame_every, self.hold_frames, self.fps, self.show = frame_every, hold_frames, fps, show
        self.guidance, self.guidance_scale = guidance, guidance_scale
        self.labels, self.weights, self.seed = labels, weights, seed
        self.strip_stages = strip_stages
        self._drawn_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "samples"
        # settings that cannot work are refused here, before the first step
        self._generation(pl_module, trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        forget_pictures(trainer, self.folder, "step")
        forget_pictures(trainer, self.folder, "strip")
        assert isinstance(pl_module, DiffusionModel)
        self._texts = (pl_module.conditioning and pl_module.conditioning.examples) or []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            unless_stopped(trainer, lambda: self._draw(trainer, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._drawn_step != trainer.global_step:
            self._draw(trainer, pl_module)

    def _generation(self, pl_module: LightningModule, trainer: Trainer) -> Generation:
        assert isinstance(pl_module, DiffusionModel)
        sampler, num_steps = self._drawing(getattr(pl_module.schedule, "num_train_timesteps", 1000))
        generation = Generation.of(
            pl_module,
            **example_of(pl_module),
            sampler=sampler,
            num_steps=num_steps,
            guidance=self.guidance,
            guidance_scale=self.guidance_scale,
            labels=self.labels,
            seed=self.seed,
            weights=self.weights,
        )
        return with_conditions(trainer, pl_module, generation, self.rows * self.columns, self.labels)

    def _drawing(self, timesteps: int) -> tuple[Sampler, int]:
        """Return the sampler and its number of steps for a model with so many timesteps."""
        if self.num_steps is not None:
            return self.sampler, self.num_steps
        if self.fast_steps is None or self.fast_steps >= timesteps:
            return self.sampler, timesteps
        ddim = DDIM(
            clip_denoised=self.sampler.clip_denoised,
            dynamic_threshold=self.sampler.dynamic_threshold,
            grid=self.sampler.grid,
        )
        return ddim, self.fast_steps

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModel)
        self._drawn_step = trainer.global_step
        rows = rank_rows(self.rows * self.columns, trainer.global_rank, trainer.world_size)
        generation = self._generation(pl_module, trainer)
        images = gather_rows(self._frames(pl_module, generation, rows, shows_progress(trainer)))
        if trainer.is_global_zero:
            conditions = pictured(generation, pl_module, range(len(images)))
            if conditions is not None:
                images = beside(to_uint8(conditions)[:, None], images)
            self._publish(trainer, images.transpose(0, 1), self.folder / f"step_{trainer.global_step:07d}")
            self._strip.publish(trainer, pl_module, self.folder)

    def _frames(self, model: DiffusionModel, generation: Generation, rows: range, shown: bool) -> Tensor:
        """Return the frames and the result as uint8 (len(rows), F, C, H, W)."""
        # there may be more processes than images
        if not rows:
            return torch.empty((0, 1, *model.image_shape), dtype=torch.uint8)
        frames: list[Tensor] = []
        self._strip = Strip(self.strip_stages, generation.num_steps)
        frame_every = self.frame_every or math.ceil(generation.num_steps / GIF_FRAMES)

        def keep(step: int, state: SamplerState) -> None:
            self._strip.add(step, state.t, getattr(state, self.show))
            if step % frame_every == 0:
                frames.append(getattr(state, self.show))

        with progress("drawing samples", generation.num_steps, shown=shown) as task:
            last = last_state(generation.trajectory(model, rows), task, keep)
        self._strip.add(generation.num_steps, last.t, last.x_t)
        frames.append(last.x_t)
        return to_uint8(model.codec.decode(torch.stack(frames, dim=1))).cpu()

    def _publish(self, trainer: Trainer, frames: Tensor, path: Path) -> None:
        """Write the PNG and the GIF of frames (F, N, C, H, W), and show both in the loggers."""
        grids = make_grid(frames, self.columns)
        save_png(path.with_suffix(".png"), self._with_texts(frames[-1]) if self._texts else enlarge(grids[-1]))
        gif = self._gif(grids)
        write_picture(path.with_suffix(".gif"), gif)
        shown = grids
        if frames.shape[1] > MOVING_ON_BOARD:
            shown = make_grid(frames[:, :MOVING_ON_BOARD], math.isqrt(MOVING_ON_BOARD))
        show_image(trainer, "samples/grid", grids[-1])
        if boards_of(trainer):
            _, channels, height, width = shown.shape
            moving = gif if shown is grids else self._gif(shown, at_least=128)
            show_animation(trainer, "samples/denoising", moving, (channels, height, width))

    def _with_texts(self, images: Tensor) -> Tensor:
        """Return a grid of images (N, C, H, W), each below the caption that it is to show."""
        shown = [self._texts[number % len(self._texts)] for number in range(len(images))]
        return labelled(images, shown, self.columns)

    def _gif(self, grids: Tensor, at_least: int = 256) -> bytes:
        """Return the GIF of grids (F, C, H, W) of at least so many pixels, with the last one held."""
        return encode_gif(enlarge(hold_last(list(grids), self.hold_frames), at_least), fps=self.fps)
