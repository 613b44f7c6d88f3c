"""Show pictures, animations and texts in all loggers of a trainer that can show them, the same way for every callback."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor

from lightdiff.callbacks.boards import Animation, Board, board_of
from lightdiff.callbacks.tolerance import attempt


def show_image(trainer: Trainer, tag: str, image: Tensor, step: int | None = None) -> None:
    """Show an image (C, H, W), uint8, in every logger that shows pictures.

    Args:
        trainer: the trainer of the run.
        tag: name of the image, such as samples/grid; those of a tag form a series.
        image: the image.
        step: its optimizer step. None: the trainer's own.
    """
    _show(trainer, tag, step, lambda board, at: board.image(tag, image, at))


def show_animation(
    trainer: Trainer, tag: str, gif: bytes, shape: tuple[int, int, int], step: int | None = None
) -> None:
    """Show a GIF in every logger that shows pictures.

    Args:
        trainer, tag, step: as in `show_image`.
        gif: the content of the file.
        shape: channels, height and width of its frames.
    """
    _show(trainer, tag, step, lambda board, at: board.animation(tag, Animation(gif, shape), at))


def show_text(trainer: Trainer, tag: str, text: str, step: int | None = None) -> None:
    """Show a text with its line breaks in every logger that shows pictures; the arguments are those of `show_image`."""
    _show(trainer, tag, step, lambda board, at: board.text(tag, text, at))


def boards_of(trainer: Trainer) -> list[tuple[Logger, Board]]:
    """Return the loggers of the trainer that show pictures, each with its board; none on ranks other than 0."""
    if not trainer.is_global_zero:
        return []
    boards = [(logger, board_of(logger)) for logger in trainer.loggers]
    return [(logger, board) for logger, board in boards if board is not None]


def _show(trainer: Trainer, tag: str, step: int | None, show: Callable[[Board, int], None]) -> None:
    at = trainer.global_step if step is None else step
    for logger, board in boards_of(trainer):
        attempt(logger, partial(_show_once, logger, tag, at, partial(show, board, at)))


def _show_once(logger: Logger, tag: str, step: int, show: Callable[[], None]) -> None:
    # a logger that goes on with a run leaves out what it was shown before the interruption
    unseen = getattr(logger, "unseen", None)
    if unseen is None or unseen([tag], step):
        show()
