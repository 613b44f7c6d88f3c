"""The file config.yaml of a run folder: it is written, read within limits, and compared."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import yaml

from lightdiff.config.former import renewed
from lightdiff.config.from_data import filled
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.data_paths import absolute, found_again, recorded
from lightdiff.utils.files import replaced

CONFIG = "config.yaml"
MAX_NODES = 100_000
"""Most entries that a config.yaml may have; real ones have a few hundred."""
MAX_SIZE = 500_000
"""Characters of the largest config.yaml that is parsed, which takes some seconds; real ones have a few thousand."""
MAX_DIGITS = 1000
"""Characters of the longest integer in a config.yaml. Python refuses to print numbers of more than 4300 digits."""


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write `config.yaml` into the folder, with absolute paths of data.

    An older one that differs is kept as config.yaml.1, config.yaml.2, ...
    """
    path = folder / CONFIG
    if path.exists():
        if holds(path, config):
            return
        number = 1
        while (kept := folder / f"{CONFIG}.{number}").exists():
            number += 1
        with replaced(kept) as temporary:
            shutil.copyfile(path, temporary)
    with replaced(path) as temporary:
        temporary.write_text(yaml.safe_dump(recorded(config, folder), sort_keys=False), encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the resolved configuration of the run in `folder`, whose data are found again if it was moved together with them.

    Raises:
        ConfigError: the folder has no config.yaml, or the file holds more than plain data or far too much of it.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(f"{folder}: not a run folder (it has no {CONFIG})")
    try:
        config = _plain_yaml(path)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a configuration ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: not a configuration")
    return found_again(renewed(config), folder)


def holds(path: Path, config: dict[str, Any], *, of_any_data: bool = False) -> bool:
    """Return whether the YAML file holds this configuration; False if it cannot be read.

    Args:
        path: the file.
        config: plain data.
        of_any_data: whether the file may also say what this configuration leaves to the data set, and differ in `on_changed`.
    """
    try:
        found = _plain_yaml(path)
        if not isinstance(found, dict):
            return False
        found, config = absolute(found_again(found, path.parent)), absolute(config)
        if of_any_data:
            config = filled(config, found)
            found, config = (_without(each, "dataset", "on_changed") for each in (found, config))
        return found == config
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return False


def _without(config: dict[str, Any], group: str, key: str) -> dict[str, Any]:
    """Return the configuration without a key of a group."""
    settings = config.get(group)
    return {**config, group: {k: v for k, v in settings.items() if k != key}} if isinstance(settings, dict) else config


def _plain_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ValueError: it is longer than `MAX_SIZE`, has a number of more than `MAX_DIGITS` digits, or with its aliases (`*name`)
            written out more than `MAX_NODES` entries.
    """
    with path.open(encoding="utf-8") as file:
        text = file.read(MAX_SIZE + 1)
    if len(text) > MAX_SIZE:
        raise ValueError(f"it has more than {MAX_SIZE} characters")
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is not None and _expanded_size(root, {}) > MAX_NODES:
            raise ValueError(f"without aliases it would have more than {MAX_NODES} entries")
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _expanded_size(node: yaml.Node, known: dict[int, float]) -> float:
    """Count a node and all below it, with each alias written out; infinite if a node contains itself.

    A long text counts once more for every hundred characters.

    Args:
        node: where to begin.
        known: sizes by the id of the node, filled on the way, so that a node with many aliases is counted once.

    Raises:
        ValueError: as for `_size`.
    """
    if id(node) not in known:
        # stands while the nodes below are counted, so that meeting this node again among them gives infinity
        known[id(node)] = math.inf
        known[id(node)] = _size(node) + sum(_expanded_size(child, known) for child in _children(node))
    return known[id(node)]


def _size(node: yaml.Node) -> int:
    """Return what a node counts without those below it.

    Raises:
        ValueError: it is a number of more than `MAX_DIGITS` digits.
    """
    if not isinstance(node, yaml.ScalarNode):
        return 1
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        raise ValueError(f"it has a number of more than {MAX_DIGITS} digits")
    return 1 + len(node.value) // 100


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        return []
    return [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else node.value
