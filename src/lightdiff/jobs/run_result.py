"""The file result.json of a run folder: how far the run has come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightdiff.utils.structure import COUNT, NUMBER, Every, Keys

RESULT = "result.json"

_RESULT = Keys(epochs=COUNT, steps=COUNT, metrics=Every(NUMBER))


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return what the run in `folder` has come to, as its result.json says; None if the file is missing or holds no result."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        _RESULT.check(result)
    except (OSError, ValueError, RecursionError):
        return None
    return dict(result)


def finished(folder: Path, config: dict[str, Any]) -> str | None:
    """Return "N epochs, M steps" if the run has trained as long as its configuration asks for, else None."""
    reached = read_result(folder)
    limits = {unit: config["trainer"].get(f"max_{unit}") for unit in ("epochs", "steps")}
    if reached and any(isinstance(limit, int) and 0 <= limit <= reached[unit] for unit, limit in limits.items()):
        return f"{reached['epochs']} epochs, {reached['steps']} steps"
    return None
