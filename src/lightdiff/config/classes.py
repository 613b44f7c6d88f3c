"""What a conditioner takes from the data set where its settings leave it null: classes, words of captions, columns."""

from __future__ import annotations

from typing import Any

from lightdiff.config.annotated import from_annotations
from lightdiff.config.from_data import CLASSES, filled
from lightdiff.config.instantiate import ConfigError, naming
from lightdiff.config.reading import reading
from lightdiff.data import DiffSet, Folder
from lightdiff.model import DiffusionModel


def with_classes(config: dict[str, Any], data: DiffSet) -> dict[str, Any]:
    """Return the configuration with what its conditioner takes from the data; files of images are listed, not read.

    Args:
        config: plain data.
        data: its data set.

    Raises:
        ConfigError: a data set without classes, a column that it does not have, or files that cannot be read.
        DownloadError: missing files.
    """
    conditioning = config.get("conditioning") or {}
    null = any(key in conditioning and conditioning[key] is None for key in CLASSES)
    annotated = data.source.may_have_captions and ("templates" in conditioning or "columns" in conditioning)
    if not (null or annotated):
        return config
    with reading(config["dataset"]):
        data.prepare_data()
        splits = data.find()
    conditioning = {**conditioning, **from_annotations(conditioning, splits)}
    names = list(splits.class_names)
    if len(names) < 2 and _needs_classes(conditioning):
        raise ConfigError(
            f"conditioning={conditioning['_target_'].rpartition('.')[2]}: the data set has only the class {names[0]!r}; "
            "of a folder each sub-folder is a class; choices: conditioning=none, or a data set with two classes or more"
        )
    # a list for each group: YAML would write the same one as an alias
    found = {group: {"num_classes": len(names), "class_names": [*names]} for group in ("dataset", "conditioning")}
    return filled({**config, "conditioning": conditioning}, found)


def _needs_classes(conditioning: dict[str, Any]) -> bool:
    """Return whether the conditioner cannot be built before the classes of the data set are known."""
    key = next((name for name in CLASSES if name in conditioning), None)
    # captions of the images themselves have no templates, and need no classes
    return key is not None and conditioning[key] is None and conditioning.get("templates", True) is not None


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
