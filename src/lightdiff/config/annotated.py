"""Settings of a conditioner that come from the captions and columns of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightdiff.config.instantiate import ConfigError, import_target, naming
from lightdiff.data.annotations import Column
from lightdiff.data.sources import Splits
from lightdiff.utils.text import listed, printable


def from_annotations(conditioning: Mapping[str, Any], splits: Splits) -> dict[str, Any]:
    """Return the settings of a conditioner that the captions and columns of the images change or fill.

    A conditioner with `templates` reads the images' own captions where they have some: templates becomes null, and other keys
    that are null get what the conditioner's class takes from the captions. `columns` becomes a mapping from the name of each
    column to the names of its values.

    Args:
        conditioning: the group.
        splits: the images.

    Raises:
        ConfigError: a column that the images do not have.
    """
    found: dict[str, Any] = {}
    train, val = splits.train.annotations, splits.val.annotations
    if "templates" in conditioning and train.captions is not None:
        with naming("conditioning", {}):
            kind = import_target(conditioning["_target_"])
        from_captions: Any = getattr(kind, "from_captions", lambda train, val: {})
        found = {"templates": None, **from_captions(train.captions, val.captions or ())}
        found = {key: value for key, value in found.items() if value is None or conditioning.get(key) is None}
    if "columns" in conditioning and train.columns:
        found["columns"] = _values(conditioning["columns"], train.columns)
    return found


def _values(wished: Any, columns: Mapping[str, Column]) -> dict[str, list[str]]:
    """Return the names of the values of the columns that are wished for: null for all, names, or a mapping that is ready."""
    if isinstance(wished, Mapping):
        return {str(name): list(values) for name, values in wished.items()}
    names = [wished] if isinstance(wished, str) else list(columns) if wished is None else list(wished)
    unknown = next((name for name in names if name not in columns), None)
    if unknown is not None:
        raise ConfigError(
            f"conditioning.columns={printable(str(unknown))}: no such column; choices: {listed(list(map(printable, columns)))}"
        )
    return {name: list(columns[name].names) for name in names}
