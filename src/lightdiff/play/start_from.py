"""Begin with a picture in place of pure noise."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from lightdiff.commands.edits import Given, ImageToImage
from lightdiff.play.frames import Frame, Picture, frames, square
from lightdiff.play.playable import Playable
from lightdiff.play.wish import Wish
from lightdiff.samplers.uses import remaining_times


def start_from(playable: Playable, wish: Wish, picture: Tensor, count: int, strength: float) -> Iterator[Frame]:
    """Yield frames of `count` variations of a picture, by `lightdiff.samplers.image_to_image`.

    Args:
        playable: the model.
        wish: the settings. Without a class or caption none is aimed at.
        picture: uint8 (C, H, W).
        count: number of results.
        strength: time in (0, 1] up to which noise is added. Small values change little, 1 keeps next to nothing.

    Raises:
        ConfigError: a setting is out of its range.
        ValueError: the model cannot have a setting.
    """
    model, generation, task = playable.model, wish.generation(playable, count, aimed=False), ImageToImage(strength)
    task.check(generation, model)
    edited = Given(model.encode(picture[None].to(model.device)), count)
    times = remaining_times(generation.sampler, model.schedule, strength, generation.num_steps)
    yield from frames(
        model.codec.decode,
        generation.stepwise(model, task.trajectory(model, generation, edited, range(count))),
        len(times) - 1,
        columns=square(count),
        name=f"from_picture_seed{wish.seed}",
        before=(Picture("the picture, as the model sees it", picture),),
    )
