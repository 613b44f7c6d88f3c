"""Check the names of classes in a run folder's config.yaml.

Such a folder may come from a stranger, and every name in its configuration would be imported and called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from lightdiff.tasks.configuration import own_folder
from lightdiff.utils.config import ConfigError
from lightdiff.utils.extras import targets
from lightdiff.utils.trust import is_own


def foreign_names(config: Any) -> dict[str, str]:
    """Return the names of classes, by their keys, that are neither in lightdiff's own conf nor allowed in a checkpoint."""
    files = own_folder().rglob("*.yaml")
    known = {str(name) for path in files for _, name in targets(yaml.safe_load(path.read_text(encoding="utf-8")))}
    return {key: str(name) for key, name in targets(config) if str(name) not in known and not is_own(str(name))}


def check_names(config: Any, typed: set[str], how: Callable[[str, str], str]) -> None:
    """Refuse names of classes that are neither lightdiff's own nor typed by the user.

    Args:
        config: content of config.yaml, not yet used for anything.
        typed: names that the user has given.
        how: says, for a key and the name there, how a user gives that name.

    Raises:
        ConfigError: one line with the key and the name.
    """
    for key, name in foreign_names(config).items():
        if name not in typed:
            raise ConfigError(f"{key}={name}: not lightdiff's own; if it is yours, {how(key, name)}")
