"""From a sampling run to what the page shows of it: a frame now and then while it goes on, and files at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from lightdiff.commands.pictures import stages
from lightdiff.samplers import SamplerState
from lightdiff.utils.images import encode_gif, encode_png, enlarge, hold_last, make_grid, to_uint8
from lightdiff.utils.progress import Task

SECONDS_BETWEEN = 0.1
"""Least time between two frames, so that a fast model does not flood the browser."""
FILM_FRAMES = 40
"""Most frames of an animation, of which the last one stays on show for `HELD` more."""
HELD = 10
FPS = 10.0


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Args:
        caption: what it shows.
        image: uint8 (1 or 3, h, w).
    """

    caption: str
    image: Tensor


@dataclass(frozen=True)
class Download:
    """A file for the visitor.

    Args:
        name: its name.
        kind: its media type, such as image/png.
        content: its bytes.
    """

    name: str
    kind: str
    content: bytes


@dataclass(frozen=True)
class Frame:
    """What the page shows at one moment.

    Args:
        done, total: steps that are done, and all of them.
        note: what stands beside them, such as the time that is left.
        pictures: pictures side by side.
        row: pictures of which a slider shows one; () where there is no slider.
        files: what can be downloaded.
    """

    done: int
    total: int
    note: str
    pictures: tuple[Picture, ...] = ()
    row: tuple[Picture, ...] = ()
    files: tuple[Download, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether this is the last frame."""
        return self.done >= self.total


@dataclass
class Followed:
    """The end of a sampling run, for whoever adds to its last frame.

    Args:
        images: the images, uint8 (N, C, H, W); None until the run has ended.
    """

    images: Tensor | None = None


def frames(
    decode: Callable[[Tensor], Tensor],
    states: Iterator[SamplerState],
    num_steps: int,
    *,
    columns: int,
    name: str,
    before: tuple[Picture, ...] = (),
    followed: Followed | None = None,
) -> Iterator[Frame]:
    """Yield what is to be shown of a sampling run: x_t beside x0_hat, and at the end the images with PNG and GIF.

    Args:
        decode: turns x (N, C, H, W) of a state into images in [-1, 1], such as `model.codec.decode`.
        states: num_steps + 1 states of the run.
        num_steps: the sampler's steps.
        columns: columns of the grids.
        name: beginning of the names of the files.
        before: pictures that are shown in front of the others.
        followed: gets the images at the end.
    """
    film_steps = set(stages(num_steps + 1, FILM_FRAMES))
    film: list[Tensor] = []
    task, shown_at = Task(name, num_steps), 0.0
    for step, state in enumerate(states):
        task.done = step
        due = step == 0 or time.monotonic() - shown_at >= SECONDS_BETWEEN
        if not due and step not in film_steps:
            continue
        noisy, guess = (to_uint8(decode(x)).cpu() for x in (state.x_t, state.x0_hat))
        if step in film_steps:
            film.append(make_grid(noisy, columns))
        if step == num_steps:
            if followed is not None:
                followed.images = noisy
            pictures = (*before, Picture("result", film[-1]))
            files = (png(f"{name}.png", film[-1]), gif(f"{name}.gif", film))
            yield Frame(step, num_steps, f"done in {task.notes()[0]}", pictures, files=files)
        elif due:
            shown_at = time.monotonic()
            yield Frame(step, num_steps, ", ".join(task.notes()), (*before, *_halves(noisy, guess, columns, state.t)))


def _halves(noisy: Tensor, guess: Tensor, columns: int, t: float) -> tuple[Picture, Picture]:
    return (
        Picture(f"x_t, the noisy images at t = {t:.2f}", make_grid(noisy, columns)),
        Picture("x0_hat, what the model makes of them", make_grid(guess, columns)),
    )


def png(name: str, image: Tensor) -> Download:
    """Return a uint8 image (C, h, w) as a PNG, enlarged as the commands do it."""
    return Download(name, "image/png", encode_png(enlarge(image)))


def gif(name: str, film: list[Tensor]) -> Download:
    """Return uint8 frames (C, h, w) as a GIF, whose last frame stays on show for a while."""
    return Download(name, "image/gif", encode_gif(enlarge(hold_last(film, HELD)), fps=FPS))


def square(count: int) -> int:
    """Return the columns of a grid of so many images that is about as wide as high."""
    return max(1, round(count**0.5 + 0.49))
