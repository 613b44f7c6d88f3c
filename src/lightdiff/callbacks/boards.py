"""How each kind of logger takes pictures, animations and texts: a class for each, entered in `BOARDS`.

The packages of the loggers are optional. Each is imported where a logger of its kind is used.
"""

from __future__ import annotations

import html
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from torch import Tensor


@dataclass(frozen=True)
class Animation:
    """A GIF.

    Args:
        gif: the content of the file.
        shape: channels, height and width of its frames.
    """

    gif: bytes
    shape: tuple[int, int, int]


class Board(ABC):
    """A logger, as something that shows pictures.

    Args:
        logger: the logger.
    """

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    @abstractmethod
    def image(self, tag: str, image: Tensor, step: int) -> None:
        """Show an image (C, H, W), uint8, under a tag such as samples/grid, at an optimizer step."""

    @abstractmethod
    def animation(self, tag: str, animation: Animation, step: int) -> None:
        """Show an animation under a tag at an optimizer step."""

    @abstractmethod
    def text(self, tag: str, text: str, step: int) -> None:
        """Show a text with its line breaks under a tag at an optimizer step."""


class TensorBoardBoard(Board):
    """TensorBoard. It has no function of its own for animations, but shows the frames of a GIF."""

    def image(self, tag: str, image: Tensor, step: int) -> None:
        self.logger.experiment.add_image(tag, image, step)

    def animation(self, tag: str, animation: Animation, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        channels, height, width = animation.shape
        content = Summary.Image(encoded_image_string=animation.gif, height=height, width=width, colorspace=channels)
        summary = Summary(value=[Summary.Value(tag=tag, image=content)])
        self.logger.experiment._get_file_writer().add_summary(summary, step)

    def text(self, tag: str, text: str, step: int) -> None:
        # texts are Markdown there, in which indented lines stay as they are
        self.logger.experiment.add_text(tag, "".join(f"    {line}\n" for line in text.splitlines()), step)


class WandbBoard(Board):
    """Weights & Biases. Each picture comes with the optimizer step, as Lightning's logger sends its metrics."""

    def image(self, tag: str, image: Tensor, step: int) -> None:
        import wandb

        self._log(tag, wandb.Image(_picture(image)), step)

    def animation(self, tag: str, animation: Animation, step: int) -> None:
        import wandb

        self._log(tag, wandb.Video(BytesIO(animation.gif), format="gif"), step)

    def text(self, tag: str, text: str, step: int) -> None:
        import wandb

        self._log(tag, wandb.Html(f"<pre>{html.escape(text)}</pre>"), step)

    def _log(self, tag: str, content: Any, step: int) -> None:
        self.logger.experiment.log({tag: content, "trainer/global_step": step})


class MLflowBoard(Board):
    """MLflow: images by step, animations and texts as files among the artifacts of the run."""

    def image(self, tag: str, image: Tensor, step: int) -> None:
        self.logger.experiment.log_image(self.logger.run_id, _picture(image), key=tag, step=step)

    def animation(self, tag: str, animation: Animation, step: int) -> None:
        with _file(f"{tag.rpartition('/')[2]}_{step:07d}.gif", animation.gif) as file:
            self.logger.experiment.log_artifact(self.logger.run_id, str(file), tag.rpartition("/")[0] or None)

    def text(self, tag: str, text: str, step: int) -> None:
        self.logger.experiment.log_text(self.logger.run_id, text, f"{tag}.txt")


class TrackioBoard(Board):
    """Trackio, which copies each file into its own folder."""

    def image(self, tag: str, image: Tensor, step: int) -> None:
        import trackio

        self.logger.experiment.log({tag: trackio.Image(_picture(image))}, step=step)

    def animation(self, tag: str, animation: Animation, step: int) -> None:
        import trackio

        # as an image, which browsers show moving; they do not show a GIF as a video
        with _file("animation.gif", animation.gif) as file:
            self.logger.experiment.log({tag: trackio.Image(str(file))}, step=step)

    def text(self, tag: str, text: str, step: int) -> None:
        import trackio

        self.logger.experiment.log({tag: trackio.Markdown(f"```\n{text}\n```")}, step=step)


BOARDS: dict[str, type[Board]] = {
    "TensorBoardLogger": TensorBoardBoard,
    "WandbLogger": WandbBoard,
    "MLFlowLogger": MLflowBoard,
    "MLflowLogger": MLflowBoard,
    "TrackioLogger": TrackioBoard,
}
"""Name of a logger's class or of a base class of it -> how it shows pictures. MLflowLogger and TrackioLogger are ours."""


def board_of(logger: Logger) -> Board | None:
    """Return the logger as a board; None for one that shows no pictures, such as the file metrics.csv."""
    kind = next((BOARDS[kind.__name__] for kind in type(logger).__mro__ if kind.__name__ in BOARDS), None)
    return None if kind is None else kind(logger)


def _picture(image: Tensor) -> Any:
    """Return an image (C, H, W) as an array (H, W, 3), or (H, W) for one channel, as Pillow expects it."""
    pixels = image.permute(1, 2, 0).cpu().numpy()
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


@contextmanager
def _file(name: str, content: bytes) -> Iterator[Path]:
    """Keep content in a file of this name for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path
