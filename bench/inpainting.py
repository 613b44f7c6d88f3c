"""How well inpainted pixels fit their surroundings, by the jump across the border of the filled region.

The jump is the mean absolute difference between neighbouring pixels (one above or beside the other) of which one was kept and
one was filled, in images whose pixels are in [0, 1]. It is measured in the same way in the real images, in which nothing was
filled. Images that fit have the jump of real ones; a larger one is a visible seam.

The real images are the first test images of MNIST. They are filled by a model of models/ without a class, in a square of half
the side in the middle, or in the right half.

    python bench/inpainting.py --data-dir data                  # the table of docs/editing.md; about ten minutes on a core
    python bench/inpainting.py --data-dir data --images 10      # quicker and rougher
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

from lightdiff import DiffSet, DiffusionModel, load_model
from lightdiff.core import BlockGenerator
from lightdiff.samplers import DDIM, DDPM, Sampler, inpaint

SAMPLERS: dict[str, Sampler] = {"ddim": DDIM(clip_denoised=True), "ddpm": DDPM(clip_denoised=True)}
SETTINGS = ((20, 1), (100, 1), (20, 5))
"""Steps and resamples; the last two ask the network equally often."""


def border_jump(images: Tensor, mask: Tensor) -> float:
    """Return the mean absolute difference between neighbouring pixels on different sides of the mask's border.

    Args:
        images: images (N, C, H, W) in [0, 1].
        mask: (H, W), above 0 at pixels that were filled.
    """
    filled = mask > 0
    down = (images[..., 1:, :] - images[..., :-1, :]).abs()[..., filled[1:] != filled[:-1]]
    across = (images[..., 1:] - images[..., :-1]).abs()[..., filled[:, 1:] != filled[:, :-1]]
    return torch.cat([down, across], dim=-1).mean().item()


def masks(height: int, width: int) -> dict[str, Tensor]:
    """Return the regions to fill, by name, each (height, width)."""
    square, half = torch.zeros(2, height, width)
    square[height // 4 : height - height // 4, width // 4 : width - width // 4] = 1
    half[:, width // 2 :] = 1
    return {"square in the middle": square, "right half": half}


def fill(model: DiffusionModel, x0: Tensor, mask: Tensor, sampler: Sampler, num_steps: int, resamples: int) -> Tensor:
    """Return images (N, C, H, W) in [0, 1] whose pixels in the mask were filled without a class."""
    cond = None
    if model.conditioning is not None:
        cond = {name: value.expand(len(x0), *value.shape[1:]) for name, value in model.conditioning.null().items()}
    with torch.inference_mode():
        generator = BlockGenerator(0, 0, len(x0), x0.device)
        filled = inpaint(sampler, model.denoiser, x0, mask, num_steps, cond, generator, resamples=resamples)
        return (model.codec.decode(filled) + 1) / 2


def rows(model: DiffusionModel, images: Tensor) -> Iterator[str]:
    """Yield the lines of the table in Markdown.

    Args:
        model: the model.
        images: uint8 (N, C, H, W).
    """
    regions = masks(*images.shape[-2:])
    yield "| sampler | steps | resamples | " + " | ".join(regions) + " |"
    yield "|---|---|---|" + "---|" * len(regions)
    real = [f"{border_jump(images / 255, mask):.3f}" for mask in regions.values()]
    yield f"| real images | | | {' | '.join(real)} |"
    x0 = model.encode(images)
    for name, sampler in SAMPLERS.items():
        for num_steps, resamples in SETTINGS:
            jumps = [
                f"{border_jump(fill(model, x0, mask, sampler, num_steps, resamples), mask):.3f}"
                for mask in regions.values()
            ]
            yield f"| {name} | {num_steps} | {resamples} | {' | '.join(jumps)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/mnist_fast", help="run folder, checkpoint or exported model")
    parser.add_argument("--data-dir", default="data", help="folder with MNIST")
    parser.add_argument("--images", type=int, default=60, help="number of images")
    options = parser.parse_args()
    model = load_model(options.model)
    channels, height, width = model.image_shape
    data = DiffSet("mnist", data_dir=options.data_dir, channels=channels, image_size=[height, width])
    data.setup()
    images = next(iter(data.val_dataloader()))["image"][: options.images]
    for line in rows(model, images):
        print(line, flush=True)


if __name__ == "__main__":
    main()
