"""Classes of the data set, for a conditioner whose settings leave them null."""

from __future__ import annotations

from typing import Any

from lightdiff.config.from_data import CLASSES, filled
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.reading import reading
from lightdiff.data import DiffSet, Folder


def needs_classes(config: dict[str, Any]) -> bool:
    """Return whether the conditioner cannot be built before the classes of the data set are known."""
    return any(_lacks_classes(settings) for settings in _conditioners(config))


def _lacks_classes(settings: dict[str, Any]) -> bool:
    """Return whether a conditioner with these settings takes classes and does not have them."""
    key = next((name for name in CLASSES if name in settings), None)
    return key is not None and settings[key] is None


def _conditioners(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of the conditioner, or those of its parts if it has any."""
    conditioning = config.get("conditioning") or {}
    return [*conditioning["parts"].values()] if isinstance(conditioning.get("parts"), dict) else [conditioning]


def with_classes(config: dict[str, Any], data: DiffSet) -> dict[str, Any]:
    """Return the configuration with the classes that its conditioner leaves null; files of images are listed, not read.

    Args:
        config: plain data.
        data: its data set.

    Raises:
        ConfigError: a data set without classes, or files that cannot be read.
        DownloadError: missing files.
    """
    conditioners = _conditioners(config)
    if not any(key in settings and settings[key] is None for settings in conditioners for key in CLASSES):
        return config
    with reading(config["dataset"]):
        data.prepare_data()
        names = list(data.find_class_names())
    if len(names) < 2 and needs_classes(config):
        first = next(settings for settings in conditioners if _lacks_classes(settings))
        raise ConfigError(
            f"conditioning={first['_target_'].rpartition('.')[2]}: the data set has only the class {names[0]!r}; "
            "of a folder each sub-folder is a class; choices: conditioning=none, or a data set with two classes or more"
        )
    # a list for each group: YAML would write the same one as an alias
    found = {group: {"num_classes": len(names), "class_names": [*names]} for group in ("dataset", "conditioning")}
    return filled(config, found)


def keep_former_order(data: DiffSet) -> None:
    """Number the classes of a folder in alphabetical order, as releases did that kept no names of classes in a run.

    Args:
        data: the data set of a trained model, prepared; where its configuration names the classes, they are in order already.
    """
    if isinstance(data.source, Folder) and data.label_order is None:
        data.label_order = sorted(data.find_class_names())
