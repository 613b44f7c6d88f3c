"""Paths as people read them."""

from __future__ import annotations

from pathlib import Path


def shown(path: Path) -> str:
    """The path as a user would type it: relative to the working directory where it lies below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
