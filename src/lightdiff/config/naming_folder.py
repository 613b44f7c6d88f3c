"""Turn errors of the system about a folder into one line that names its key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightdiff.config.instantiate import ConfigError


@contextmanager
def naming_folder(key: str, folder: str | Path) -> Iterator[None]:
    """Turn an error of the system about a folder into one line that names it by its key."""
    try:
        yield
    # a link that leads to itself is a RuntimeError
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{key}={folder}: no folder can be made there ({reason})") from error
