"""Write checkpoints so that a kill leaves the old file whole; read them so that an error can name the field that was restored."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightdiff.utils.files import replaced


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint writer that renames a finished file to its target, which is thus always one complete file, old or new."""

    def __init__(self) -> None:
        self._content: weakref.ref[_Followed] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint to `path`, making its folder if need be."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replaced(target) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, as a dict that knows which of its fields was asked for last."""
        content = _Followed(super().load_checkpoint(path, map_location, weights_only))
        if isinstance(content.get("callbacks"), dict):
            content["callbacks"] = _Followed(content["callbacks"])
        self._content = weakref.ref(content)
        return content

    @property
    def field(self) -> str | None:
        """The field of a checkpoint that is being restored, such as "loops" or "callbacks.Curves"; None before and afterwards."""
        # Lightning lets the content go once all of it is restored
        content = None if self._content is None else self._content()
        if content is None or content.last is None:
            return None
        inner = dict.get(content, content.last)
        name = inner.last if isinstance(inner, _Followed) else None
        return content.last if name is None else f"{content.last}.{name}"


class _Followed(dict[str, Any]):
    """A dict that remembers in `last` which of its keys was asked for last."""

    last: str | None = None

    def __getitem__(self, key: str) -> Any:
        self.last = key
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.last = key
        return super().get(key, default)
