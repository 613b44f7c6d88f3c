"""Check the names of classes in a run folder's config.yaml.

Such a folder may come from a stranger, and every name in its configuration would be imported and called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from lightdiff.config.conf_files import own_folder
from lightdiff.config.extras import targets
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.trust import Trust, is_own
from lightdiff.utils.quoting import word


def foreign_names(config: Any) -> dict[str, str]:
    """Return the names of classes, by their keys, that are neither in lightdiff's own conf nor allowed in a checkpoint."""
    files = own_folder().rglob("*.yaml")
    known = {str(name) for path in files for _, name in targets(yaml.safe_load(path.read_text(encoding="utf-8")))}
    return {key: str(name) for key, name in targets(config) if str(name) not in known and not is_own(str(name))}


def trusting(config: Any) -> str:
    """Return the argument that lets a command use the classes that a configuration names, with a space in front; "" if all are
    lightdiff's own."""
    packages = sorted({name.partition(".")[0] for name in foreign_names(config).values()} - {"lightdiff"})
    return f" {word('trust=[' + ','.join(packages) + ']')}" if packages else ""


def how_to_trust(key: str, name: str) -> str:
    """Return how a user of a command says that a class is trusted, in words for a message."""
    package = name.partition(".")[0]
    return f"say {word(f'trust=[{package}]')}, and its code will run"


def check_names(config: Any, trust: Trust, how: Callable[[str, str], str]) -> None:
    """Refuse names of classes that are neither lightdiff's own nor trusted by the user.

    Args:
        config: content of config.yaml, not yet used for anything.
        trust: what the user has named.
        how: says, for a key and the name there, how the user names it.

    Raises:
        ConfigError: one line with the key and the name.
    """
    for key, name in foreign_names(config).items():
        if not trust.covers(name):
            raise ConfigError(f"{key}={name}: not lightdiff's own; if it is yours, {how(key, name)}")
