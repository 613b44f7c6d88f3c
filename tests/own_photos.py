"""A folder of one's own: small photos in class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}
OWN = (
    *("dataset=folder", "dataset.data_dir=photos", "dataset.image_size=16", "dataset.num_workers=0"),
    *("model.attention_levels=[]", "sampler=ddim", "sampler.num_steps=2", "callbacks=no_samples"),
    *("trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=1", "trainer.log_every_n_steps=1"),
    *("trainer.enable_progress_bar=false", "trainer.enable_model_summary=false"),
)
LABEL = (*OWN, "conditioning=label", "model=unet_small", "model.widths=[8,8]")


def write_photos(folder: Path, each: int = 18) -> Path:
    """Write so many noisy images of each colour into a sub-folder of its name."""
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(np.array(colour) + generator.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder
