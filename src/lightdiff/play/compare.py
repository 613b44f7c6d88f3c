"""Draw with two models from the same noise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lightdiff.config.instantiate import ConfigError
from lightdiff.play.frames import Frame, frames
from lightdiff.play.playable import Playable
from lightdiff.play.wish import Wish, within
from lightdiff.samplers import SamplerState

MOST_COMPARED = 12
"""Images of each model, which make up a row."""


def compare(first: Playable, second: Playable, wish: Wish, count: int) -> Iterator[Frame]:
    """Yield frames of what two models draw from the same noise: the first one's images in a row, the second one's below.

    Each model gets what it can take of the wish.

    Args:
        first, second: the models, whose images have one shape.
        wish: the settings.
        count: images in a row, 1 to `MOST_COMPARED`.

    Raises:
        ConfigError: the images of the models differ in shape, or a setting is out of its range.
        ValueError: a model cannot have a setting.
    """
    within("images", count, 1, MOST_COMPARED)
    shapes = ["x".join(map(str, playable.model.image_shape)) for playable in (first, second)]
    if shapes[0] != shapes[1]:
        raise ConfigError(
            f"{first.path} draws images of {shapes[0]} and {second.path} of {shapes[1]} (channels, height, width), so that no "
            "noise fits both"
        )
    runs = [wish.generation(playable, count).trajectory(playable.model, range(count)) for playable in (first, second)]

    def decode(x: Tensor) -> Tensor:
        halves = zip((first, second), x.chunk(2), strict=True)
        return torch.cat([playable.model.codec.decode(half) for playable, half in halves])

    together = (_joined(*states) for states in zip(*runs, strict=True))
    yield from frames(decode, together, wish.num_steps, columns=count, name=f"compared_seed{wish.seed}")


def _joined(first: SamplerState, second: SamplerState) -> SamplerState:
    return SamplerState(
        torch.cat([first.x_t, second.x_t]), torch.cat([first.x0_hat, second.x0_hat]), max(first.t, second.t)
    )
