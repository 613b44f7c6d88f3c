"""For tests of garbled checkpoints: a tiny run, its checkpoint with one field changed, and what its folder holds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from runs import tiny, train

VALUES: dict[str, Any] = {
    "missing": ...,
    "null": None,
    "-1": -1,
    "nan": float("nan"),
    "text": "x",
    "list": [],
    "mapping": {},
    "huge": 10**30,
}
"""What a field may be changed to."""
SETTINGS = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.limit_val_batches=1", "callbacks=no_samples"),
    *("conditioning=label", "lr_scheduler=cosine"),
)


def trained_run(folder: Path) -> Path:
    """Train for one epoch of three steps."""
    train(tiny(*SETTINGS), folder)
    return folder


def copied(run: Path, folder: Path) -> Path:
    """Copy a run to lightning_logs/digits/version_0 in a folder."""
    return Path(shutil.copytree(run, folder / "lightning_logs" / "digits" / "version_0"))


def change(run: Path, path: tuple[Any, ...], value: Any, name: str = "last.ckpt") -> Path:
    """Change a field of a run's checkpoint, or take it out where the value is `...`."""
    file = run / "checkpoints" / name
    content = torch.load(file, weights_only=True)
    node = content
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    torch.save(content, file)
    return file


def paths(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all fields in nested mappings and lists; of a list, those of its first entry."""
    keys = list(content) if isinstance(content, dict) else range(min(len(content), 1))
    for key in keys:
        yield (*above, key)
        if isinstance(content[key], dict | list):
            yield from paths(content[key], (*above, key))


def files_of(run: Path) -> dict[str, bytes]:
    """Return the content of all files of a run but its log."""
    files = {path.relative_to(run): path for path in run.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if name.name not in ("train.log", ".lock")}
