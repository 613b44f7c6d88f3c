"""Samples of each run from the same noise, drawn for the report alone (`--samples`), which is when torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightdiff.commands.report.pictures import as_url
from lightdiff.utils.text import shorten

SEED = 0
"""Seed of the noise of every run."""

SAMPLER, STEPS = "ddim", 50
"""How every run is sampled, whatever its own sampler: without noise on the way, so that the start alone decides."""

MOST = 64
"""Most samples of a run."""


@dataclass(frozen=True)
class Drawn:
    """Samples of a run.

    Args:
        url: the picture as a `data:` URL; None where nothing could be drawn.
        text: what was drawn, or why nothing was.
    """

    url: str | None
    text: str


def draw(folder: Path, count: int) -> Drawn:
    """Draw `count` samples of a run's last checkpoint on the CPU, image i from noise i of `SEED`.

    A model with classes shows them in turn, one with captions its examples. A model that is conditioned on images, and one whose
    file cannot be loaded, gives the reason.
    """
    # torch takes seconds to import, and most reports draw nothing
    import imageio.v3 as iio

    from lightdiff.model import load_model
    from lightdiff.utils.images import enlarge, make_grid, to_uint8

    try:
        model = load_model(folder)
        images = model.sample(count, sampler=SAMPLER, num_steps=STEPS, seed=SEED)
    except Exception as error:
        # a stranger's file may raise anything
        return Drawn(None, f"no samples: {shorten(' '.join(str(error).split()), 300)}")
    grid = enlarge(make_grid(to_uint8(images), columns=min(count, 8)))
    data = iio.imwrite("<bytes>", grid.movedim(0, -1).squeeze(-1).numpy(), extension=".png")
    return Drawn(as_url(data), f"{count} samples: {SAMPLER}, {STEPS} steps, noise of seed {SEED}")
