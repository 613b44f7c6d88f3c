"""Draw images from noise."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from lightdiff.model import pictured
from lightdiff.play.frames import Followed, Frame, Picture, frames, square
from lightdiff.play.playable import Playable
from lightdiff.play.wish import Wish
from lightdiff.utils.images import make_grid, to_uint8


def draw(playable: Playable, wish: Wish, count: int, followed: Followed | None = None) -> Iterator[Frame]:
    """Yield frames of the first `count` images of the seed; they are those of `model.sample` with the same settings.

    Args:
        playable: the model.
        wish: the settings.
        count: number of images.
        followed: gets the images at the end.

    Raises:
        ConfigError: a setting is out of its range.
        ValueError: the model cannot have a setting.
    """
    model, generation, rows = playable.model, wish.generation(playable, count), range(count)
    given = pictured(generation, model, range(1))
    before = () if given is None else (Picture("condition", make_grid(to_uint8(given).cpu(), 1)),)
    yield from frames(
        model.codec.decode,
        generation.trajectory(model, rows),
        generation.num_steps,
        columns=square(count),
        name=f"seed{wish.seed}",
        before=before,
        followed=followed,
    )


def drawn_picture(playable: Playable, wish: Wish) -> Tensor:
    """Draw a single image, uint8 (C, H, W), such as one to be edited."""
    followed = Followed()
    for _ in draw(playable, wish, 1, followed):
        pass
    assert followed.images is not None
    return followed.images[0]
