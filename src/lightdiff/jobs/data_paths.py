"""Paths of data in a run's config.yaml, so that the run goes on with the same data from everywhere.

They are absolute there, beside the folder that the run had at that time, from which they are found where both were moved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lightdiff.utils.files import is_on_hub, user_path

RUN_FOLDER = "run_folder"
"""Key at the top of config.yaml: the run's folder when the paths below were written. It is there where there are any."""

Keys = tuple[str, ...]

PATHS: dict[Keys, Callable[[Path], bool]] = {
    ("dataset", "data_dir"): lambda path: True,
    # other texts are names of data sets on the hub
    ("dataset", "source", "path"): Path.is_dir,
    ("callbacks", "evaluation", "cache_dir"): lambda path: True,
    ("objective", "teacher"): lambda path: True,
}
"""Keys of texts that may be paths, and what tells whether they are."""


def absolute(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with absolute paths of data; `~` is the user's home."""
    for keys, value in _texts(config):
        path = user_path(value)
        if not is_on_hub(value) and PATHS[keys](path):
            config = _with(config, keys, str(path.absolute()))
    return config


def recorded(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a configuration as the config.yaml in a run's folder holds it: with absolute paths of data and `RUN_FOLDER`."""
    config = absolute(config)
    has_paths = any(Path(value).is_absolute() for _, value in _texts(config))
    return {**config, RUN_FOLDER: str(folder.absolute())} if has_paths else config


def found_again(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the configuration that a config.yaml holds, with the paths of data as they are now.

    Args:
        config: the content of config.yaml.
        folder: the run's folder now.
    """
    then = config.get(RUN_FOLDER)
    config = {key: value for key, value in config.items() if key != RUN_FOLDER}
    if isinstance(then, str) and Path(then).is_absolute():
        for keys, value in _texts(config):
            if Path(value).is_absolute():
                config = _with(config, keys, str(_now(Path(value), Path(then), folder.absolute())))
    return config


def _now(data: Path, then: Path, now: Path) -> Path:
    """Return where data are whose run was in the folder `then` and is in the folder `now`.

    Where both have moved, they are at the same place relative to each other. A copy of a whole project has data of its own, so
    this place is preferred if the run's path below the folder that it shares with the data is still the same.
    """
    moved = Path(os.path.normpath(now / os.path.relpath(data, then)))
    below = then.relative_to(os.path.commonpath([data, then])).parts
    as_a_whole = now.parts[len(now.parts) - len(below) :] == below
    places = (moved, data) if as_a_whole else (data, moved)
    return next((place for place in places if _exists(place)), data)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    # a path that cannot be: too long, in a folder that may not be entered
    except (OSError, ValueError):
        return False


def _texts(config: dict[str, Any]) -> Iterator[tuple[Keys, str]]:
    """Yield the keys of `PATHS` that hold texts, and these."""
    for keys in PATHS:
        value: Any = config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            yield keys, value


def _with(config: dict[str, Any], keys: Keys, value: str) -> dict[str, Any]:
    """Return the configuration with another value at these keys."""
    key, *deeper = keys
    return {**config, key: _with(config[key], tuple(deeper), value) if deeper else value}
