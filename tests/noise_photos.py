"""Folders of images of noise, whose files all have the same size, and runs on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runs import ROOT, last
from waiting import PATIENCE

SETTINGS = (
    *("dataset=folder", "dataset.data_dir=photos", "dataset.image_size=8", "dataset.batch_size=8"),
    *("dataset.num_workers=0", "model=unet_small", "model.widths=[8,8]", "model.attention_levels=[]"),
    *("trainer=debug", "trainer.enable_progress_bar=false", "trainer.enable_model_summary=false"),
    *("trainer.precision=32-true", "callbacks=no_samples", "sampler=ddim", "sampler.num_steps=2"),
)
RUN = "lightning_logs/folder/version_0"


def write(path: Path, seed: int) -> None:
    """Write an image of noise. All of them have files of the same size, which is that of their pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def photos(folder: Path, each: int = 20, classes: tuple[str, ...] = ("bird", "cat")) -> Path:
    """Write so many images of each class into a sub-folder of its name."""
    for label, name in enumerate(classes):
        for number in range(each):
            write(folder / name / f"{number:03d}.bmp", 1000 * label + number)
    return folder


def first_run(folder: Path, *more: str) -> Path:
    photos(folder / "photos")
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *SETTINGS, *more],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return folder


def facts(run: Path) -> dict[str, Any]:
    return last(run)["DiffSet"]


def shrink(data: Path) -> None:
    (data / "cat" / "007.bmp").unlink()
