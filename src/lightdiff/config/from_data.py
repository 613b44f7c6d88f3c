"""Settings that come out of the data, or out of a pretrained model: where a configuration leaves them null, they are theirs.

Once found they stand in the run's config.yaml, so that a resumed run keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightdiff.utils.text import shorten

CLASSES = ("num_classes", "class_names")
CAPTIONS = ("vocabulary", "examples")
NETWORK = ("widths", "blocks_per_level", "attention_levels", "further")
FROM_DATA = {
    "dataset": (*CLASSES, "batch_size"),
    "conditioning": (*CLASSES, *CAPTIONS, "columns"),
    "model": NETWORK,
}
"""Keys of each group that the data set can fill, and those of group model that the folder of `init_from` can fill."""
SAID = ("num_classes", "batch_size")
"""Those keys of group dataset of which a line says so; the names of the classes are in a line of their own."""


def filled(config: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the null keys of `FROM_DATA` taken from `values`, which has the same groups."""
    groups = {}
    for group, keys in FROM_DATA.items():
        settings, given = config.get(group), values.get(group)
        if isinstance(settings, dict) and isinstance(given, Mapping):
            groups[group] = _filled(settings, given, keys)
    return {**config, **groups}


def _filled(settings: dict[str, Any], given: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a group, and of its parts if it has any, with the null keys taken from `given`."""
    empty = [key for key in keys if key in settings and settings[key] is None]
    settings = {**settings, **{key: given[key] for key in empty if key in given}}
    if isinstance(settings.get("parts"), dict):
        # of a run that goes on, `given` has the same parts; of a data set it has one value for all
        own = given.get("parts") or {}
        parts = {name: _filled(part, own.get(name, given), keys) for name, part in settings["parts"].items()}
        settings["parts"] = parts
    return settings


def found_in_data(given: Mapping[str, Any], settled: Mapping[str, Any]) -> list[str]:
    """Return a line for each key of group dataset that was null and has been filled."""
    keys = [key for key in SAID if given.get(key) is None and settled.get(key) is not None]
    return [f"dataset.{key}={shorten(settled[key])}: taken from the data set" for key in keys]
