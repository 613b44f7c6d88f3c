"""Follow the sampling runs of sample.py, edit.py and restore.py: collect the images, and frames of how the first ones arise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightdiff.commands.pictures import MOVING
from lightdiff.model import DiffusionModel
from lightdiff.model.loop import last_state
from lightdiff.samplers import SamplerState
from lightdiff.utils.images import to_uint8
from lightdiff.utils.progress import Task


class Follower:
    """Follows sampling runs to their images.

    Args:
        model: the model that draws.
        config: save, frame_every.
        task: counts the steps of the sampler.

    Attributes:
        starts: x_t (n, C, H, W) at the beginning of each run.
        times: the time of each frame that was kept.
    """

    def __init__(self, model: DiffusionModel, config: dict[str, Any], task: Task) -> None:
        self.model, self.task = model, task
        self._frame_every = config["frame_every"]
        self._moving = bool(MOVING & set(config["save"]))
        self.starts: list[Tensor] = []
        self.times: list[float] = []
        self._frames: dict[str, list[Tensor]] = {"x_t": [], "x0_hat": []}

    def result(self, states: Iterator[SamplerState], batch: range | None = None) -> Tensor:
        """Return the images at the end of a run, uint8 (n, C, H, W).

        Args:
            states: the states of the run.
            batch: which images they are. Frames are kept of those from number 0 on. None: no frames.
        """
        followed = self._moving and batch is not None and batch.start == 0

        def keep(step: int, state: SamplerState) -> None:
            if step == 0:
                self.starts.append(state.x_t.cpu())
            if followed and step % self._frame_every == 0:
                for name, frames in self._frames.items():
                    frames.append(self._finished(getattr(state, name)))
                self.times.append(state.t)

        return self._finished(last_state(states, self.task, keep).x_t)

    def process(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frames of x_t and of x0_hat, each uint8 (F, K, C, H, W), with the first batch of images as the last one."""
        x_t, x0_hat = (torch.stack([*frames, first]) for frames in self._frames.values())
        return x_t, x0_hat

    def _finished(self, x: Tensor) -> Tensor:
        return to_uint8(self.model.codec.decode(x)).cpu()
