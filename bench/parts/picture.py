"""Part f as a picture: distance against minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightdiff.utils.plots import new_figure, save_figure


def draw_race(content: dict[str, Any], path: Path) -> None:
    """Draw the curves of part f, both axes logarithmic, as PNG.

    Raises:
        ValueError: part f has not been measured.
    """
    rows = content["parts"].get("f", {}).get("rows", [])
    found = next((row["details"] for row in rows if "curves" in row["details"]), None)
    if found is None:
        raise ValueError("part f has not been measured")
    figure, (axes,) = new_figure()
    for side, curve in found["curves"].items():
        axes.plot([seconds / 60 for seconds, _ in curve], [distance for _, distance in curve], marker=".", label=side)
    axes.set(xscale="log", yscale="log", xlabel="minutes from the start of the command", ylabel="feature distance")
    axes.set_title(f"MNIST; {found['protocol']}", fontsize="medium")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    save_figure(path, figure)
