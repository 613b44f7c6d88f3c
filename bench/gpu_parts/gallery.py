"""What a part leaves beside its figures: a picture of samples, and the weights where they are small."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from lightdiff.model import DiffusionModel, load_model, save_export
from lightdiff.utils.images import enlarge_to, make_grid, save_png, to_uint8
from parts.sampling import model_images

LARGEST_WEIGHTS = 8 * 10**6
"""Bytes of the weights in float16 that are still written."""
PIXELS = 640
"""Shorter side of a picture at least."""


def draw(
    model: DiffusionModel, sampling: tuple[str, int], rows: range, precision: str, seed: int, chunk: int = 500
) -> Tensor:
    """Draw images with the averaged weights.

    Args:
        model: the model, on its device.
        sampling: sampler and number of steps.
        rows: which images of the seed's list; those of a model of classes show every class in turn.
        precision: number format.
        seed: key of the noise.
        chunk: images at a time.

    Returns:
        uint8 images (N, C, H, W) on the CPU.
    """
    parts = (range(start, min(start + chunk, rows.stop)) for start in range(rows.start, rows.stop, chunk))
    return torch.cat([to_uint8(model_images(model, *sampling, part, precision, seed)).cpu() for part in parts])


def save_grid(path: Path, images: Tensor, columns: int = 10) -> None:
    """Write images, uint8 (N, C, H, W), as a PNG file."""
    save_png(path, enlarge_to(make_grid(images, columns), PIXELS))


def save_small(trainer: Trainer, folder: Path) -> str:
    """Write the averaged weights in float16 into a folder that `load_model` reads, where they are not too large.

    Returns:
        What was done, in words.
    """
    model = trainer.lightning_module
    assert isinstance(model, DiffusionModel)
    size = sum(2 * parameter.numel() for parameter in model.trained.parameters())
    if size > LARGEST_WEIGHTS:
        return f"not written: {size / 10**6:.0f} MB in float16, more than {LARGEST_WEIGHTS / 10**6:.0f}"
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "last.ckpt"
        trainer.save_checkpoint(checkpoint)
        averaged = load_model(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    save_export(averaged, folder, weights="ema", half=True)
    return f"{size / 10**6:.2f} MB in {folder.name}"
