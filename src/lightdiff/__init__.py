"""lightdiff: image diffusion models trained with PyTorch Lightning and composed with Hydra.

from lightdiff import DiffusionModel, DiffSet, load_model
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightdiff.data import DiffSet
    from lightdiff.model import DiffusionModel, load_model

__version__ = "0.2.0.dev0"
__all__ = ["DiffSet", "DiffusionModel", "load_model"]

_HOMES = {"DiffSet": "lightdiff.data", "DiffusionModel": "lightdiff.model", "load_model": "lightdiff.model"}


def __getattr__(name: str) -> Any:
    # torch and Lightning take seconds to import: only when a name is used, so that `train.py --help` answers at once
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
