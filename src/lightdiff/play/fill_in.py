"""Fill a part of a picture anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lightdiff.commands.edits import Given, Inpaint
from lightdiff.config.instantiate import ConfigError
from lightdiff.play.draw import draw
from lightdiff.play.frames import Frame, Picture, frames, square
from lightdiff.play.playable import Playable
from lightdiff.play.wish import Wish, within

HIDDEN = 128
"""Level of gray that covers what is filled."""
MOST_RESAMPLES = 20


def read_mask(text: str, size: tuple[int, int]) -> Tensor:
    """Return the mask (H, W), True where pixels are to be filled, of what was painted in the browser.

    Args:
        text: H * W letters, row by row, "1" where something was painted and "0" elsewhere.
        size: (H, W).

    Raises:
        ConfigError: nothing was painted, or the text is something else.
    """
    height, width = size
    if text and (len(text) != height * width or set(text) - {"0", "1"}):
        raise ConfigError(f"mask: {height * width} letters, each 0 or 1, are expected")
    if "1" not in text:
        raise ConfigError("mask: nothing is painted; paint over the part of the picture that is to be filled")
    return torch.tensor([letter == "1" for letter in text]).view(height, width)


def fill_in(
    playable: Playable, wish: Wish, picture: Tensor, mask: Tensor, count: int, resamples: int
) -> Iterator[Frame]:
    """Yield frames of `count` ways to fill a part of a picture, by `lightdiff.samplers.inpaint`.

    A model that was trained to fill holes gets the picture with its hole as its condition instead.

    Args:
        playable: the model.
        wish: the settings. Without a class or caption none is aimed at.
        picture: uint8 (C, H, W).
        mask: bool (H, W), True where pixels are to be filled.
        count: number of results.
        resamples: how often each step is made.

    Raises:
        ConfigError: a setting is out of its range.
        ValueError: the model cannot have a setting.
    """
    within("repetitions", resamples, 1, MOST_RESAMPLES)
    model = playable.model
    given = Picture("to be filled", picture.masked_fill(mask, HIDDEN))
    if playable.fills_holes:
        opaque = ((~mask).to(torch.uint8) * 255)[None]
        yield from draw(playable, replace(wish, condition=torch.cat([picture, opaque])), count)
        return
    generation, task = wish.generation(playable, count, aimed=False), Inpaint(resamples)
    task.check(generation, model)
    edited = Given(
        model.encode(picture[None].to(model.device)), count, mask[None, None].to(model.device, model.float_dtype)
    )
    states = generation.stepwise(model, task.trajectory(model, generation, edited, range(count)))
    yield from frames(
        model.codec.decode,
        states,
        generation.num_steps,
        columns=square(count),
        name=f"filled_seed{wish.seed}",
        before=(given,),
    )
