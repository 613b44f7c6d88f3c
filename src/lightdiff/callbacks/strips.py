"""A strip: one image at evenly spaced stages of its denoising, from noise on the left to the result on the right."""

from __future__ import annotations

from pathlib import Path

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from lightdiff.callbacks.show import show_image
from lightdiff.model import DiffusionModel
from lightdiff.utils.captions import captioned, widened
from lightdiff.utils.images import LARGEST, make_grid, save_png, to_uint8


def check_stages(stages: int | None) -> None:
    """Check a number of stages; None means no strip.

    Raises:
        ValueError: it is below 2 or too large for a picture.
    """
    if stages is not None and not 2 <= stages <= LARGEST:
        raise ValueError(f"strip_stages={stages}: 2 to {LARGEST} or null (no strip) is expected")


class Strip:
    """Collects the stages of the first image while a trajectory is drawn.

    Args:
        stages: number of stages, the noise and the result among them; all steps where there are fewer. None: none is collected.
        num_steps: steps of the sampler, so that the trajectory has num_steps + 1 states.

    Attributes:
        images: the stages so far, each (C, H, W), in the model's value range.
        times: their times t.
    """

    def __init__(self, stages: int | None, num_steps: int) -> None:
        count = 0 if stages is None else min(stages, num_steps + 1)
        self._steps = set(torch.linspace(0, num_steps, count).round().int().tolist())
        self.images: list[Tensor] = []
        self.times: list[float] = []

    def add(self, step: int, t: float, shown: Tensor) -> None:
        """Take `shown` (B, C, H, W), x_t or x0_hat at the time t after so many steps, if it is one of the stages."""
        if step in self._steps:
            self.images.append(shown[0].clone())
            self.times.append(t)

    def publish(self, trainer: Trainer, model: DiffusionModel, folder: Path) -> None:
        """Write `strip_NNNNNNN.png` into the folder, with the time above each stage, and show it in the loggers."""
        if not self.images:
            return
        images = to_uint8(model.codec.decode(torch.stack(self.images))).cpu()
        row = widened(make_grid(images, len(images)))
        picture = captioned(row, [], [f"{time:.2f}" for time in self.times], "t")
        save_png(folder / f"strip_{trainer.global_step:07d}.png", picture)
        show_image(trainer, "samples/strip", picture)
