"""Figures with axes: drawn once, saved as PNG and shown in TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(panels: int = 1) -> tuple[Figure, list[Any]]:
    """A figure with panels side by side, and their axes."""
    from matplotlib.figure import Figure  # late: it takes a while to import

    figure = Figure(figsize=(5 * panels, 3.5), dpi=100, layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def save_figure(path: Path, figure: Figure) -> None:
    """As PNG; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})


def pixels(figure: Figure) -> Tensor:
    """uint8 (3, H, W)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rgba = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return rgba.view(height, width, 4)[..., :3].movedim(-1, 0)
