"""The picture of a model card: images that the exported model itself draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightdiff.config.build import build_sampler
from lightdiff.core import FewStepObjective
from lightdiff.model import DiffusionModel, Generation, example_of
from lightdiff.samplers import DDIM, Renoise, Sampler, name_of
from lightdiff.utils.images import enlarge, make_grid, save_png, to_uint8
from lightdiff.utils.text import listed

FILE = "samples.png"
SEED = 0
COLUMNS = 8


@dataclass(frozen=True)
class Picture:
    """A picture in the folder of an export.

    Args:
        sampler, num_steps: how its images were drawn.
        text: what it shows, in a sentence.
    """

    sampler: str
    num_steps: int
    text: str


def draw_picture(model: DiffusionModel, config: dict[str, Any], count: int, folder: Path) -> Picture | None:
    """Draw images without guidance and write them as `FILE` into a folder.

    Args:
        model: the exported model, in eval mode.
        config: the configuration of its run; empty where it is unknown.
        count: number of images; 0: none.
        folder: where to write.

    Returns:
        What was drawn; None where the model needs condition images, which an export does not have, or no sampler fits its noise.
    """
    takes = () if model.conditioning is None else model.conditioning.takes
    if count == 0 or "condition" in takes:
        return None
    sampler, num_steps = _sampler(model, config)
    try:
        generation = Generation.of(model, sampler=sampler, num_steps=num_steps, seed=SEED, **example_of(model))
    except ValueError:
        # a noise that is not Gaussian
        return None
    images = to_uint8(generation.images(model, range(count)))
    save_png(folder / FILE, enlarge(make_grid(images, min(COLUMNS, count))))
    name, num_steps = name_of(generation.sampler), generation.num_steps
    drawn = f"{name}, {num_steps} step{'s' * (num_steps > 1)}, seed {SEED}, without guidance"
    return Picture(name, num_steps, f"{count} images that this model draws with {drawn}{_shown(model, count)}")


def _sampler(model: DiffusionModel, config: dict[str, Any]) -> tuple[Sampler, int | None]:
    """Return the sampler and its number of steps: DDIM with 50, and for a few-step model those of its run, else 4."""
    if not isinstance(model.objective, FewStepObjective):
        return DDIM(clip_denoised=True), 50
    if config.get("sampler"):
        return build_sampler(config)
    return (DDIM(clip_denoised=True) if model.trained.takes_s else Renoise(clip_denoised=True)), 4


def _shown(model: DiffusionModel, count: int) -> str:
    """Return the end of the sentence: which conditions the images have, in their order."""
    conditioner = model.conditioning
    if conditioner is None:
        return "."
    if conditioner.examples:
        asked = [conditioner.examples[i % len(conditioner.examples)] for i in range(count)]
        return f"; in their order: {listed(asked)}."
    return ", every class in turn." if model.class_names else "."
