"""A field into which a visitor puts a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from lightdiff.play.page.show import refused_html
from lightdiff.play.uploads import read_picture
from lightdiff.play.worker import Refused, Worker

COMPUTING: dict[str, Any] = {
    "concurrency_id": "compute",
    "concurrency_limit": 1,
    "api_visibility": "private",
    "show_progress": "minimal",
}
"""Settings of every event that computes: all of them wait in one queue."""


class PictureField:
    """A field for a picture, which is brought to the size of the model at once and shown so.

    Args:
        worker: reads the picture.
        shape: (C, H, W), as which it is read.
        label: what it is put in for.
        show: returns the HTML that shows the picture, uint8 (C, H, W).
        name: id of the element that shows it.

    Attributes:
        state: holds the picture of each visitor, or None.
    """

    def __init__(
        self, worker: Worker, shape: Sequence[int], label: str, show: Callable[[Tensor], str], name: str
    ) -> None:
        self._worker, self._shape, self._show = worker, shape, show
        self.state = gr.State(None)
        file = gr.File(label=label, height=110, elem_id=f"{name}-file")
        self._shown = gr.HTML(js_on_load=None, elem_id=name)
        file.upload(self._read, file, [self.state, self._shown], **COMPUTING)
        file.clear(lambda: (None, ""), None, [self.state, self._shown], api_visibility="private")

    def filled_by(
        self, button: gr.Button, make: Callable[[dict[str, Any]], Tensor], inputs: dict[str, gr.components.Component]
    ) -> None:
        """Let a button fill the field with a picture that is made of the values of these inputs."""
        names = list(inputs)

        def made(*values: Any) -> tuple[Tensor | None, str]:
            return self._result(lambda: make(dict(zip(names, values, strict=True))))

        button.click(made, list(inputs.values()), [self.state, self._shown], **COMPUTING)

    def _read(self, path: str | None) -> tuple[Tensor | None, str]:
        if path is None:
            return None, ""
        return self._result(lambda: read_picture(Path(path), self._shape))

    def _result(self, make: Callable[[], Tensor]) -> tuple[Tensor | None, str]:
        try:
            picture = self._worker.call(make)
        except Refused as error:
            return None, refused_html(str(error))
        return picture, self._show(picture)
