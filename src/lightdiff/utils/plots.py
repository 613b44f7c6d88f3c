"""Figures with axes: drawn once, saved as PNG and shown in TensorBoard."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightdiff.utils.files import write_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.size": 13,
    "axes.titlesize": 14,
    "legend.fontsize": 12,
    "lines.linewidth": 2,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
"""A panel of 400 x 300 pixels stays readable on a card of TensorBoard, which is about 300 pixels wide."""


def new_figure(panels: int = 1) -> tuple[Figure, list[Any]]:
    """Return a figure with panels of 400 x 300 pixels side by side, and their axes."""
    # matplotlib takes a while to import, and most commands draw nothing
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(4 * panels, 3), dpi=100, layout="constrained")
        return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def log_y(axes: Any) -> None:
    """Give a panel a logarithmic y axis with plain numbers (0.05, and not 5e-02 or 5 x 10^-2) beside its ticks."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: Any = None) -> str:
            # the base class decides which ticks have room for a number
            return f"{x:g}" if super().__call__(x, pos) else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))


def save_figure(path: Path, figure: Figure) -> None:
    """Save a figure as PNG; the same figure gives the same bytes. See `write_picture`."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    write_picture(path, drawn.getvalue())


def pixels(figure: Figure) -> Tensor:
    """Draw a figure into a tensor, uint8 (3, H, W)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rgba = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return rgba.view(height, width, 4)[..., :3].movedim(-1, 0)
