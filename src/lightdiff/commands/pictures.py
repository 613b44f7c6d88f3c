"""The files that sample.py, edit.py and restore.py can make of a sampling run.

Legend: N images; K of them, those of the first batch, are shown while they arise; F frames, the last of which is the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightdiff.utils.captions import captioned, widened
from lightdiff.utils.file_names import file_name
from lightdiff.utils.files import replaced, write_picture
from lightdiff.utils.images import encode_gif, enlarge, enlarge_to, hold_last, make_grid, save_mp4, save_png


@dataclass(frozen=True)
class Drawn:
    """Sampled images, all uint8 but the noise.

    Args:
        images: (N, C, H, W).
        x_t: frames (F, K, C, H, W) of the noisy images; empty where no file shows them.
        x0_hat: frames (F, K, C, H, W) of the network's guesses of the images; empty where no file shows them.
        by_guidance: (scales * M, C, H, W), the first M images at each of `guidance_scales`; empty where not asked for.
        labels: class of each image (N,), int64; None where the images were not drawn by classes.
        class_names: names of the classes 0, 1, ...
        times: the time t of each frame, from the first one down to 0.
        given: the images that were edited (K, C, H, W), gray where they are filled, or the condition images; None where nothing
            was given.
        noise: x_T (N, C, H, W), floating point, from which the images arise; None where it is no result.
    """

    images: Tensor
    x_t: Tensor
    x0_hat: Tensor
    by_guidance: Tensor
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    given: Tensor | None = None
    noise: Tensor | None = None

    def names(self, count: int) -> list[str]:
        """Return a name for each of the first images: that of its class where it has one, else its number."""
        if self.labels is None:
            return [str(i) for i in range(count)]
        return [self.class_names[label] for label in self.labels[:count].tolist()]


def grid(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `grid.png`, all images side by side."""
    save_png(out / "grid.png", enlarge(make_grid(drawn.images, config["columns"])))


def given(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `input.png`, the images that were edited or the condition images, side by side."""
    assert drawn.given is not None
    save_png(out / "input.png", enlarge(make_grid(drawn.given, config["columns"])))


def single_images(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write a PNG of each image into `images`, such as `00003_cat.png` where it was drawn as one of class cat."""
    classes = [] if drawn.labels is None else drawn.labels.tolist()
    endings = [f"_{file_name(drawn.class_names[label])}" for label in classes] or [""] * len(drawn.images)
    for i, (image, ending) in enumerate(zip(drawn.images, endings, strict=True)):
        large = enlarge_to(image, config["pixels"]) if config["pixels"] else image
        save_png(out / "images" / f"{i:05d}{ending}.png", large)


def array(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `samples.npz` with the images as uint8 (N, H, W, C), under the names `images` and `arr_0`.

    Images that were drawn by classes come with their labels (N,), under `labels` and `arr_1`, and `class_names`. The evaluation
    suite of ADM (Dhariwal and Nichol 2021, arXiv:2105.05233) reads `arr_0` and `arr_1`. The noise that task=encode finds is
    float32 (N, C, H, W) under `x_T`.
    """
    images = drawn.images.movedim(1, -1).numpy()
    arrays = {"arr_0": images, "images": images}
    if drawn.labels is not None:
        labels = drawn.labels.numpy()
        arrays |= {"arr_1": labels, "labels": labels, "class_names": np.array(drawn.class_names, dtype=np.str_)}
    if drawn.noise is not None:
        arrays["x_T"] = drawn.noise.float().numpy()
    with replaced(out / "samples.npz", durable=False) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def strip(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `strip.png`, for each image a row of evenly spaced stages, with the time t above each stage."""
    frames = _frames(drawn, config)
    shown = stages(len(frames), config["stages"])
    rows = frames[shown].transpose(0, 1).flatten(0, 1)
    picture = widened(make_grid(rows, len(shown)))
    save_png(out / "strip.png", captioned(picture, drawn.names(frames.shape[1]), _times(drawn, shown), corner="t"))


def steps(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write a PNG of each frame into `steps`, such as `seed2_00007.png`."""
    for i, frame in enumerate(_frames(drawn, config)):
        if config["pixels"]:
            picture = make_grid(enlarge_to(frame, config["pixels"]), config["columns"])
        else:
            picture = enlarge(make_grid(frame, config["columns"]))
        save_png(out / "steps" / f"seed{config['seed']}_{i:05d}.png", picture)


def history(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `history.png`, a row for each of evenly spaced stages: on the left the network's input, on the right its guess."""
    columns = min(config["columns"], drawn.x_t.shape[1])
    shown = stages(len(drawn.x_t) - 1, config["stages"])  # the result is no input of the network
    halves = [make_grid(frames[shown, :columns].flatten(0, 1), columns) for frames in (drawn.x_t, drawn.x0_hat)]
    gap = halves[0].new_full((*halves[0].shape[:-1], 4), 255)
    picture = widened(torch.cat([halves[0], gap, halves[1]], dim=-1))
    rows = [f"step {i * config['frame_every']}, t = {t}" for i, t in zip(shown, _times(drawn, shown), strict=True)]
    save_png(out / "history.png", captioned(picture, rows, ["input x_t", "guess x0_hat"]))


def guidance(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `guidance.png`, a row for each of the first images, which has the same noise at every guidance scale.

    The scales go from left to right and are written above.
    """
    scales = config["guidance_scales"]
    by_image = drawn.by_guidance.unflatten(0, (len(scales), -1)).transpose(0, 1)
    picture = widened(make_grid(by_image.flatten(0, 1), len(scales)))
    columns = [f"{scale:g}" for scale in scales]
    save_png(out / "guidance.png", captioned(picture, drawn.names(len(by_image)), columns, corner="guidance"))


def gif(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `process.gif`, how the images arise."""
    write_picture(out / "process.gif", encode_gif(_animation(drawn, config), fps=config["fps"]))


def mp4(drawn: Drawn, out: Path, config: dict[str, Any]) -> None:
    """Write `process.mp4`, how the images arise."""
    save_mp4(out / "process.mp4", _animation(drawn, config), fps=config["fps"])


FILES: dict[str, Callable[[Drawn, Path, dict[str, Any]], None]] = {
    "grid": grid,
    "input": given,
    "png": single_images,
    "npz": array,
    "gif": gif,
    "mp4": mp4,
    "strip": strip,
    "steps": steps,
    "history": history,
    "guidance": guidance,
}
"""Name in `save` -> the function that writes the file."""

MOVING = {"gif", "mp4", "strip", "steps", "history"}
"""Files that show the process and not only its result."""


def stages(frames: int, count: int) -> list[int]:
    """Return the indices of evenly spaced frames, each of them once: `count` of them, or all where there are fewer."""
    return torch.linspace(0, frames - 1, min(count, frames)).round().int().tolist()


def _times(drawn: Drawn, shown: list[int]) -> list[str]:
    return [f"{drawn.times[i]:.2f}" for i in shown]


def _frames(drawn: Drawn, config: dict[str, Any]) -> Tensor:
    return drawn.x_t if config["show"] == "x_t" else drawn.x0_hat


def _animation(drawn: Drawn, config: dict[str, Any]) -> Tensor:
    frames = list(make_grid(_frames(drawn, config), config["columns"]))
    return enlarge(hold_last(frames, config["hold_frames"]))
