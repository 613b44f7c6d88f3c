"""Find the training images that are nearest to drawn ones, to see whether a model repeats what it was shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightdiff.data import ImageStore
from lightdiff.play.draw import draw
from lightdiff.play.frames import Followed, Frame, Picture, png
from lightdiff.play.playable import Playable
from lightdiff.play.wish import Wish, within
from lightdiff.utils.images import make_grid
from lightdiff.utils.progress import Task

MOST_BESIDE = 16
"""Images for which neighbours are sought at once."""
NEAREST = 5
"""Neighbours of each image."""
ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Neighbours:
    """The training images nearest to N images.

    Args:
        rows: their numbers in the training set (N, K), the nearest first.
        distances: root of the mean squared difference of the pixels (N, K), in levels of 0 to 255.
    """

    rows: Tensor
    distances: Tensor


def neighbours(playable: Playable, wish: Wish, count: int) -> Iterator[Frame]:
    """Yield frames of a drawing, and then of the search for the training images that are nearest to its images.

    Args:
        playable: the model.
        wish: the settings.
        count: number of images, 1 to `MOST_BESIDE`.

    Raises:
        ConfigError: a setting is out of its range, or the training images are unknown.
        DataError: the training images are not there.
        ValueError: the model cannot have a setting.
    """
    within("images", count, 1, MOST_BESIDE)
    store, followed = playable.training_images(), Followed()
    searches = -(-len(store) // ROWS_AT_A_TIME)
    for frame in draw(playable, wish, count, followed):
        total = frame.total + searches
        yield replace(frame, total=total)
    drawn, images = frame.total, followed.images
    assert images is not None
    task = Task("search", searches)
    for step, nearest in enumerate(search(images, store), start=1):
        task.done = step
        if step == searches:
            yield _result(total, wish, images, store, nearest)
        else:
            yield replace(frame, done=drawn + step, total=total, note=", ".join(task.notes()), files=())


def search(images: Tensor, store: ImageStore, nearest: int = NEAREST) -> Iterator[Neighbours]:
    """Yield the nearest of the training images that were looked at so far, `ROWS_AT_A_TIME` more each time.

    Args:
        images: uint8 (N, C, H, W).
        store: the training images.
        nearest: neighbours K of each image, or all where there are fewer.
    """
    flat = images.flatten(1).float()
    best: tuple[Tensor, Tensor] | None = None
    for start in range(0, len(store), ROWS_AT_A_TIME):
        rows = torch.arange(start, min(start + ROWS_AT_A_TIME, len(store)))
        others = store[rows.tolist()]["image"].cpu().flatten(1).float()
        # without the product of matrices, whose rounding would hide that an image is an exact copy
        squared = torch.cdist(flat, others, compute_mode="donot_use_mm_for_euclid_dist").square() / flat.shape[1]
        rows = rows.expand(len(images), -1)
        if best is not None:
            squared, rows = torch.cat([best[0], squared], 1), torch.cat([best[1], rows], 1)
        kept = squared.topk(min(nearest, squared.shape[1]), largest=False)
        best = kept.values, rows.gather(1, kept.indices)
        yield Neighbours(best[1], best[0].sqrt())


def _result(total: int, wish: Wish, images: Tensor, store: ImageStore, found: Neighbours) -> Frame:
    beside = store[found.rows.flatten().tolist()]["image"].cpu().unflatten(0, found.rows.shape)
    rows = torch.cat([images[:, None], beside], 1)
    pictures = tuple(
        Picture(_said(distances), make_grid(row, len(row)))
        for row, distances in zip(rows, found.distances.tolist(), strict=True)
    )
    grid = make_grid(rows.flatten(0, 1), rows.shape[1])
    note = f"{len(store)} training images were compared; the distance is that of pixels, of 255 levels"
    return Frame(total, total, note, pictures, files=(png(f"neighbours_seed{wish.seed}.png", grid),))


def _said(distances: list[float]) -> str:
    return f"distances {', '.join(f'{distance:.0f}' for distance in distances)}"
