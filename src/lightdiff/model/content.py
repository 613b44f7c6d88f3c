"""The content of a model's files: what a checkpoint and an exported folder hold, and of which types.

Whatever is read from a file is checked against these structures once, before anything uses it.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from lightdiff.utils.structure import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    FINITE,
    MAPPING,
    TEXT,
    Every,
    Items,
    Keys,
    Leaf,
    Nullable,
    Optional,
    Structure,
    is_count,
    is_finite,
)

FORMAT = 2
"""Format of the files that are written. `format_1` turns those of format 1 into it."""


def _is_plain_tensor(value: Any) -> bool:
    """Return whether a value is a tensor with numbers of its own, which is not so on the device "meta"."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta and not value.is_quantized


_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,4}((a|b|rc|\.post|\.dev)\d{1,9})*(\+[a-z0-9.]+)?")


TENSOR = Leaf(_is_plain_tensor, "a dense tensor")
_POSITIVE = Leaf(lambda value: is_count(value) and value > 0, "a whole number, 1 or more,")
SEED = Leaf(lambda value: is_count(value) and value < 2**32, "a whole number from 0 to 4294967295")
IMAGE_SHAPE = Items(_POSITIVE, length=3)
_RATE = Leaf(lambda value: is_finite(value) and 0 <= value <= 1e6, "a learning rate, 0 to a million,")
STEPS = Leaf(
    lambda value: is_finite(value.item() if _is_plain_tensor(value) and value.numel() == 1 else value),
    "one finite number",
)
"""How often an optimizer has updated a parameter, as a number or a tensor of one."""

DESCRIPTION = Keys(
    network=Nullable(MAPPING),
    schedule=MAPPING,
    prediction=MAPPING,
    conditioning=Nullable(MAPPING),
    time_input=Nullable(TEXT),
    objective=MAPPING,
    codec=MAPPING,
    ema_decay=Nullable(FINITE),
    image_shape=IMAGE_SHAPE,
    seed=SEED,
)
"""A model without its weights, as `DiffusionModel.describe` returns it."""


class _Weights(Structure):
    """The state dict of a `DiffusionModel`: tensors, and the numbers that the average of the weights keeps beside them."""

    _extra = Keys(num_updates=COUNT)

    def check(self, value: Any, path: str = "") -> None:
        Every(ANYTHING).check(value, path)
        for name, item in value.items():
            structure = self._extra if name.endswith("_extra_state") else TENSOR
            structure.check(item, f"{path}.{name}")


WEIGHTS = _Weights()
MODEL = Keys(
    lightdiff=Keys(
        format=Leaf(lambda value: value == FORMAT, f"1 or {FORMAT}, the formats that this version reads,"),
        model=DESCRIPTION,
        dataset=Optional(Nullable(MAPPING)),
        training=Optional(Nullable(Keys(device=TEXT, compiled=BOOLEAN, teacher=Optional(TEXT)))),
    ),
    state_dict=WEIGHTS,
    epoch=Optional(COUNT),
    global_step=Optional(COUNT),
)
"""The part of a checkpoint from which a model is loaded."""

_OPTIMIZER = Keys(
    state=MAPPING,
    param_groups=Items(Keys(lr=_RATE, initial_lr=Optional(_RATE), params=Items(COUNT))),
)

TRAINING = Keys(
    {
        "epoch": COUNT,
        "global_step": COUNT,
        "pytorch-lightning_version": Leaf(
            lambda value: isinstance(value, str) and bool(_VERSION.fullmatch(value)), "a version of Lightning"
        ),
        "loops": Keys(fit_loop=MAPPING),
        "callbacks": Every(ANYTHING),
        "optimizer_states": Items(_OPTIMIZER),
        "lr_schedulers": Items(Keys(base_lrs=Optional(Items(_RATE)))),
    }
)
"""The part of a checkpoint from which Lightning goes on with the training. What depends on the run is checked by `rehearse`."""
