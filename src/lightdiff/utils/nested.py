"""Nested plain data by dotted keys, as the command line writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(config: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Turn {"optimizer": {"lr": 0.001}} into {"optimizer.lr": 0.001}; lists and empty mappings stay as they are."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{key}."))
        else:
            flat[key] = value
    return flat
