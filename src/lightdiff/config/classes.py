"""What a conditioner takes from the data set where its settings leave it null: classes, words of captions, columns."""

from __future__ import annotations

from typing import Any

from lightdiff.config.annotated import from_annotations
from lightdiff.config.from_data import CLASSES, filled
from lightdiff.config.instantiate import ConfigError, naming
from lightdiff.config.reading import reading
from lightdiff.data import DiffSet, Folder, Splits
from lightdiff.model import DiffusionModel


def needs_data(config: dict[str, Any], data: DiffSet) -> bool:
    """Return whether the conditioner cannot be built before the files of the data set are listed."""
    conditioners = conditioners_of(config)
    return _may_be_annotated(conditioners, data) or any(_lacks_classes(settings) for settings in conditioners)


def with_classes(config: dict[str, Any], data: DiffSet) -> dict[str, Any]:
    """Return the configuration with what its conditioner takes from the data; files of images are listed, not read.

    Args:
        config: plain data.
        data: its data set.

    Raises:
        ConfigError: a data set without classes, a column that it does not have, or files that cannot be read.
        DownloadError: missing files.
    """
    conditioners = conditioners_of(config)
    null = any(key in settings and settings[key] is None for settings in conditioners for key in CLASSES)
    if not (null or _may_be_annotated(conditioners, data)):
        return config
    with reading(config["dataset"]):
        data.prepare_data()
        splits = data.find()
    config = {**config, "conditioning": _with_annotations(config["conditioning"], splits)}
    names = list(splits.class_names)
    lacking = next((settings for settings in conditioners_of(config) if _lacks_classes(settings)), None)
    if len(names) < 2 and lacking is not None:
        raise ConfigError(
            f"conditioning={lacking['_target_'].rpartition('.')[2]}: the data set has only the class {names[0]!r}; "
            "of a folder each sub-folder is a class; choices: conditioning=none, or a data set with two classes or more"
        )
    # a list for each group: YAML would write the same one as an alias
    found = {group: {"num_classes": len(names), "class_names": [*names]} for group in ("dataset", "conditioning")}
    return filled(config, found)


READ_CAPTIONS = {"templates", "columns"}
"""Keys of a conditioner that reads the captions or the columns of images that have some."""


def _may_be_annotated(conditioners: list[dict[str, Any]], data: DiffSet) -> bool:
    """Return whether one of the conditioners reads captions or columns, and the images may have some."""
    return data.source.may_have_captions and any(READ_CAPTIONS & settings.keys() for settings in conditioners)


def conditioners_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of the conditioner, or those of its parts if it has any."""
    conditioning = config.get("conditioning") or {}
    return [*conditioning["parts"].values()] if isinstance(conditioning.get("parts"), dict) else [conditioning]


def _with_annotations(settings: dict[str, Any], splits: Splits) -> dict[str, Any]:
    """Return the settings of a conditioner, and of its parts if it has any, with what the captions and columns say."""
    if isinstance(settings.get("parts"), dict):
        return {
            **settings,
            "parts": {name: _with_annotations(part, splits) for name, part in settings["parts"].items()},
        }
    return {**settings, **from_annotations(settings, splits)}


def _lacks_classes(settings: dict[str, Any]) -> bool:
    """Return whether a conditioner with these settings takes classes and does not have them."""
    key = next((name for name in CLASSES if name in settings), None)
    # captions of the images themselves have no templates, and need no classes
    return key is not None and settings[key] is None and settings.get("templates", True) is not None


def prepare_captions(model: DiffusionModel, data: DiffSet) -> None:
    """Give the captions of all images to the model's conditioner, before training.

    Raises:
        ConfigError: a caption that it cannot read.
    """
    if model.conditioning is None:
        return
    found = [store.annotations.captions for store in (data.train_set, data.val_set)]
    with naming("conditioning", {"max_tokens": getattr(model.conditioning, "max_tokens", None)}):
        model.conditioning.prepare(None if None in found else [text for texts in found for text in texts or ()])


def keep_former_order(data: DiffSet) -> None:
    """Number the classes of a folder in alphabetical order, as releases did that kept no names of classes in a run.

    Args:
        data: the data set of a trained model, prepared; where its configuration names the classes, they are in order already.
    """
    if isinstance(data.source, Folder) and data.label_order is None:
        data.label_order = sorted(data.find_class_names())
