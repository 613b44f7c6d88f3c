"""Read checkpoints and exports of format 1, which releases before 0.2 wrote.

In format 1 network and conditioner stood beside each other, the objective held the prediction, and the data set the range of x0.
In format 2 the denoiser owns network, conditioner and prediction, and the codec the range.
"""

from __future__ import annotations

import re
from typing import Any

from lightdiff.model.content import FORMAT, IMAGE_SHAPE, SEED, WEIGHTS
from lightdiff.utils.former import renewed_objective, without_range
from lightdiff.utils.structure import FINITE, MAPPING, TEXT, Items, Keys, Leaf, Nullable, Optional

DESCRIPTION_1 = Keys(
    network=Nullable(MAPPING),
    schedule=MAPPING,
    objective=MAPPING,
    conditioning=Nullable(MAPPING),
    ema_decay=Nullable(FINITE),
    time_input=Nullable(TEXT),
    value_range=Items(FINITE, length=2),
    image_shape=IMAGE_SHAPE,
    seed=SEED,
)
"""A model without its weights, as files of format 1 describe it."""

_MODEL_1 = Keys(
    lightdiff=Keys(
        format=Leaf(lambda value: value == 1, "1"), model=DESCRIPTION_1, dataset=Optional(Nullable(MAPPING))
    ),
    state_dict=WEIGHTS,
)

_RENAMED = (
    (re.compile(r"^network\."), "trained.network."),
    (re.compile(r"^conditioning\."), "trained.conditioner."),
    (re.compile(r"^ema\.module\.conditioning\."), "ema.module.conditioner."),
)
"""First part of a weight's name in format 1 -> in format 2."""


def is_format_1(checkpoint: Any) -> bool:
    """Return whether the content of a checkpoint says that it has format 1."""
    described = checkpoint.get("lightdiff") if isinstance(checkpoint, dict) else None
    found = described.get("format") if isinstance(described, dict) else None
    return found == 1 and found is not True


def renew(checkpoint: dict[str, Any]) -> None:
    """Turn the content of a checkpoint of format 1 into that of format 2, in place. Any other stays as it is.

    Raises:
        Misfit: it says that it has format 1, and has other content.
    """
    if not is_format_1(checkpoint):
        return
    _MODEL_1.check(checkpoint)
    described = checkpoint["lightdiff"]
    dataset = described.get("dataset")
    checkpoint["lightdiff"] = {
        **described,
        "format": FORMAT,
        "model": renewed_model(described["model"]),
        "dataset": None if dataset is None else without_range(dataset),
    }
    checkpoint["state_dict"] = renewed_state(checkpoint["state_dict"])


def renewed_model(model: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a model in format 2, which fits `DESCRIPTION_1` in format 1."""
    parts = dict(model)
    value_range = parts.pop("value_range")
    prediction, objective = renewed_objective(parts["objective"])
    codec = {"_target_": "lightdiff.core.PixelCodec", "value_range": value_range}
    return {**parts, "prediction": prediction, "objective": objective, "codec": codec}


def renewed_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return weights under their names in format 2."""
    return {_renamed(name): weight for name, weight in state.items()}


def _renamed(name: str) -> str:
    for first, now in _RENAMED:
        name, found = first.subn(now, name)
        if found:
            break
    return name
