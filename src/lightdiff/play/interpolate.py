"""Walk from one noise to another: a row of images, of which a slider shows one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lightdiff.commands.edits import Interpolate
from lightdiff.core import BlockGenerator
from lightdiff.model import DiffusionModel
from lightdiff.play.frames import Followed, Frame, Picture, frames, gif, png
from lightdiff.play.playable import Playable
from lightdiff.play.wish import LARGEST_SEED, Wish, within
from lightdiff.samplers import SamplerState, slerp
from lightdiff.utils.images import make_grid

MOST_IN_A_ROW = 32


def interpolate(playable: Playable, wish: Wish, other_seed: int, count: int) -> Iterator[Frame]:
    """Yield frames of a row that leads from the first image of `wish.seed` to the first one of `other_seed`.

    Args:
        playable: the model.
        wish: the settings, with a sampler that adds no noise. Without a class or caption none is aimed at.
        other_seed: seed of the noise at the end of the row.
        count: images in the row, 2 to `MOST_IN_A_ROW`.

    Raises:
        ConfigError: a setting is out of its range.
        ValueError: the model cannot have a setting, or the sampler adds noise.
    """
    within("images", count, 2, MOST_IN_A_ROW)
    within("second seed", other_seed, 0, LARGEST_SEED)
    model, generation = playable.model, wish.generation(playable, count, aimed=False)
    Interpolate().check(generation, model)

    def states() -> Iterator[SamplerState]:
        first, last = (first_noise(model, seed) for seed in (wish.seed, other_seed))
        x_T = torch.cat([slerp(first, last, i / (count - 1)) for i in range(count)])
        denoiser, cond, generator = generation.parts(model, range(count))
        yield from generation.sampler.trajectory(denoiser, x_T, generation.num_steps, cond, generator)

    name, followed = f"seed{wish.seed}_to_{other_seed}", Followed()
    run = generation.stepwise(model, states())
    for frame in frames(model.codec.decode, run, generation.num_steps, columns=count, name=name, followed=followed):
        yield _with_slider(frame, followed.images, name) if frame.finished and followed.images is not None else frame


def first_noise(model: DiffusionModel, seed: int) -> Tensor:
    """Return x_T (1, C, H, W) of the first image of a seed, as `Generation` draws it."""
    like = torch.empty((1, *model.image_shape), device=model.device, dtype=model.float_dtype)
    return model.schedule.prior_std * model.objective.noise.like(like, BlockGenerator(seed, 0, 1, model.device))


def _with_slider(frame: Frame, images: Tensor, name: str) -> Frame:
    """Return the last frame with the row as pictures of a slider, and an animation that goes there and back."""
    shares = torch.linspace(0, 100, len(images)).round().int().tolist()
    row = tuple(
        Picture(f"{share} % of the way", make_grid(image[None], 1)) for share, image in zip(shares, images, strict=True)
    )
    grid = make_grid(images, len(images))
    there_and_back = [picture.image for picture in (*row, *row[-2:0:-1])]
    files = (png(f"{name}.png", grid), gif(f"{name}.gif", there_and_back))
    return replace(frame, pictures=(Picture("the whole row", grid),), row=row, files=files)
