"""Settings of a conditioner that come from the captions and columns of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightdiff.conditioning.captions import words
from lightdiff.config.instantiate import ConfigError
from lightdiff.data.annotations import Column
from lightdiff.data.sources import Splits
from lightdiff.utils.text import listed, printable

EXAMPLES = 64
"""Largest number of captions that are kept as examples."""


def from_annotations(conditioning: Mapping[str, Any], splits: Splits) -> dict[str, Any]:
    """Return the settings of a conditioner that the captions and columns of the images change or fill.

    A conditioner with `templates` reads the images' own captions where they have some: templates becomes null, its vocabulary the
    words of the training captions, its examples captions of images to validate on. `columns` becomes a mapping from the name of
    each column to the names of its values.

    Args:
        conditioning: the group.
        splits: the images.

    Raises:
        ConfigError: a column that the images do not have.
    """
    found: dict[str, Any] = {}
    train, val = splits.train.annotations, splits.val.annotations
    if "templates" in conditioning and train.captions is not None:
        known = {word for text in train.captions for word in words(text)}
        found["templates"] = None
        if conditioning.get("vocabulary", "") is None:
            found["vocabulary"] = " ".join(sorted(known))
        if conditioning.get("examples", "") is None:
            found["examples"] = _examples(train.captions, val.captions or [], known)
    if "columns" in conditioning and train.columns:
        found["columns"] = _values(conditioning["columns"], train.columns)
    return found


def _examples(train: Sequence[str], val: Sequence[str], known: set[str]) -> list[str]:
    """Return different captions, spread over those of the images to validate on, made of known words in combinations unseen.

    Where there are none such, they are training captions.
    """
    seen = {frozenset(words(text)) for text in train}
    new = [text for text in dict.fromkeys(val) if words(text) and frozenset(words(text)) not in seen]
    new = [text for text in new if known.issuperset(words(text))] or [
        text for text in dict.fromkeys(train) if words(text)
    ]
    count = min(EXAMPLES, len(new))
    return [new[len(new) * i // count] for i in range(count)]


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
