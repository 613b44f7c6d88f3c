"""Names in a run folder's config.yaml. Such a folder may come from a stranger, and each name is imported and called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lightdiff.utils.config import ConfigError, import_safe_target


def targets(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every `_target_` in plain data, with the key it stands at."""
    if isinstance(config, dict):
        for name, value in config.items():
            where = f"{key}.{name}" if key else str(name)
            if name == "_target_":
                yield where, value
            yield from targets(value, where)
    elif isinstance(config, list):
        for i, value in enumerate(config):
            yield from targets(value, f"{key}[{i}]")


def foreign_names(config: Any, conf: Path) -> dict[str, str]:
    """Names, by their keys, that stand in no file below `conf` and that a checkpoint may not use either."""
    known = {str(name) for path in conf.rglob("*.yaml") for _, name in targets(yaml.safe_load(path.read_text()))}
    return {key: str(name) for key, name in targets(config) if str(name) not in known and not _safe(str(name))}


def check_names(config: Any, conf: Path, typed: set[str], how: str) -> None:
    """Refuse names that are neither known (see `foreign_names`) nor typed by the user beside the folder.

    Args:
        config: content of config.yaml, not yet used for anything.
        conf: the folder of the configuration groups.
        typed: names that the user has given.
        how: how one gives them; {key} and {name} are filled in.

    Raises:
        ConfigError: one line with the key and the name.
    """
    for key, name in foreign_names(config, conf).items():
        if name not in typed:
            trusted = how.format(key=key, name=name)
            raise ConfigError(f"{key}={name}: not lightdiff's own; if it is yours, {trusted}")


def _safe(name: str) -> bool:
    try:
        import_safe_target(name)
    except ConfigError:
        return False
    return True
