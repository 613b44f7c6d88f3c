"""The configuration on disk: lightdiff's own folder `conf`, and the folders that a user adds with --config-dir."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml


def own_folder() -> Path:
    """Return lightdiff's own configuration: `lightdiff/conf` in an installed package, `conf` beside `src` in a clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def folders() -> list[Path]:
    """Return all folders that configurations are read from, lightdiff's own first."""
    return [own_folder(), *added_folders()]


_of_job: list[Path] = []
"""The folders that the user has added, in a job that a launcher has started, where the command line is the launcher's."""


def use_folders(folders: Iterable[Path]) -> None:
    """Remember the folders that the user has added, for a process that cannot read them off its own command line."""
    _of_job[:] = folders


def added_folders() -> list[Path]:
    """Return the folders that the user has added with --config-dir."""
    return list(_typed_folders(sys.argv[1:])) or [*_of_job]


def _typed_folders(arguments: list[str]) -> Iterator[Path]:
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            yield Path(value if equals else "".join(arguments[i + 1 : i + 2])).absolute()


def groups() -> list[str]:
    """Return the names of the configuration groups: dataset, model, ..."""
    return sorted({path.name for folder in folders() if folder.is_dir() for path in folder.iterdir() if path.is_dir()})


def choices(group: str) -> list[str]:
    """Return the names that a group offers; none where there is no such group."""
    return sorted({path.stem for folder in folders() for path in (folder / group).glob("*.yaml")}) if group else []


def written(group: str, choice: str) -> dict[str, Any]:
    """Return the content of a choice's file as it is written: without its defaults, interpolations unresolved."""
    # of two files of one name Hydra takes that of the folder which it searches first, lightdiff's own
    path = next(path for folder in folders() if (path := folder / group / f"{choice}.yaml").is_file())
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
