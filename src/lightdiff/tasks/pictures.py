"""The files that sample.py can make of a sampling run.

N images; the first K (those of the first batch) are shown while they arise, in F frames, the last of which is the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightdiff.utils.images import encode_gif, enlarge, hold_last, make_grid, save_mp4, save_png


@dataclass(frozen=True)
class Drawn:
    """What was sampled, all uint8.

    Args:
        images: (N, C, H, W).
        x_t: frames (F, K, C, H, W) of the noisy images; empty where no file shows them.
        x0_hat: the same of the model's guesses.
        by_guidance: (scales * columns, C, H, W), the first images at each of `guidance_scales`; empty where not asked for.
    """

    images: Tensor
    x_t: Tensor
    x0_hat: Tensor
    by_guidance: Tensor


def grid(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    save_png(out / "grid.png", enlarge(make_grid(drawn.images, config["columns"])))


def single_images(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    for i, image in enumerate(drawn.images):
        save_png(out / "images" / f"{i:05d}.png", image)


def array(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """(N, H, W, C), as tools that compute FID read it."""
    np.savez(out / "samples.npz", images=drawn.images.movedim(1, -1).numpy())


def strip(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """A row of evenly spaced stages for each image."""
    rows = stages(_frames(drawn, config), config["stages"]).transpose(0, 1).flatten(0, 1)
    save_png(out / "strip.png", enlarge(make_grid(rows, config["stages"])))


def steps(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """A PNG of each frame."""
    for i, frame in enumerate(enlarge(make_grid(_frames(drawn, config), config["columns"]))):
        save_png(out / "steps" / f"{i:05d}.png", frame)


def history(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """A row for each of evenly spaced stages: to the left what the network got, to the right what it made of it."""
    columns = min(config["columns"], drawn.x_t.shape[1])
    halves = [
        make_grid(stages(frames[:-1], config["stages"])[:, :columns].flatten(0, 1), columns)
        for frames in (drawn.x_t, drawn.x0_hat)
    ]
    gap = halves[0].new_full((*halves[0].shape[:-1], 4), 255)
    save_png(out / "history.png", enlarge(torch.cat([halves[0], gap, halves[1]], dim=-1)))


def guidance(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """The first images, a row for each of the guidance scales."""
    columns = len(drawn.by_guidance) // len(config["guidance_scales"])
    save_png(out / "guidance.png", enlarge(make_grid(drawn.by_guidance, columns)))


def gif(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    (out / "process.gif").write_bytes(encode_gif(_animation(drawn, config), fps=config["fps"]))


def mp4(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    save_mp4(out / "process.mp4", _animation(drawn, config), fps=config["fps"])


FILES: dict[str, Callable[[Drawn, Path, dict[str, Any]], None]] = {
    "grid": grid,
    "png": single_images,
    "npz": array,
    "gif": gif,
    "mp4": mp4,
    "strip": strip,
    "steps": steps,
    "history": history,
    "guidance": guidance,
}
"""What `save` may name."""

MOVING = {"gif", "mp4", "strip", "steps", "history"}
"""Files that show the process and not only its result."""


def stages(frames: Tensor, count: int) -> Tensor:
    """`count` evenly spaced ones of the frames (F, ...)."""
    return frames[torch.linspace(0, len(frames) - 1, count).round().long()]


def _frames(drawn: Drawn, config: dict[str, Any]) -> Tensor:
    return drawn.x_t if config["show"] == "x_t" else drawn.x0_hat


def _animation(drawn: Drawn, config: dict[str, Any]) -> Tensor:
    frames = list(make_grid(_frames(drawn, config), config["columns"]))
    return enlarge(hold_last(frames, config["hold_frames"]))
