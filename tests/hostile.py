"""For tests of hostile files: what would run if it were unpickled, or called by its name. It then makes a file, the marker."""

from __future__ import annotations

import builtins
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from lightdiff import load_model
from lightdiff.model import CheckpointError
from runs import TINY

Command = Callable[..., CompletedProcess[str]]

NAMES: dict[str, dict[str, Any]] = {
    "os.system": {"command": "touch '{marker}'"},
    "posix.system": {"command": "touch '{marker}'"},
    "subprocess.getoutput": {"cmd": "touch '{marker}'"},
    "builtins.open": {"file": "{marker}", "mode": "w"},
    "torch.load": {"f": "{pickled}", "weights_only": False},
    "torch.serialization.load": {"f": "{pickled}", "weights_only": False},
    "torch.utils.cpp_extension.load": {"name": "{marker}", "sources": ["x.cpp"]},
}
"""Functions that a file may ask for, and arguments with which they leave the marker."""


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def payloads(marker: Path) -> dict[str, Call]:
    inner = marker.with_name("inner.pkl")
    inner.write_bytes(pickle.dumps(Call(Path.touch, marker)))
    return {
        "os.system": Call(os.system, f"touch '{marker}'"),
        "builtins.open": Call(open, str(marker), "w"),
        "builtins.eval": Call(builtins.eval, f"open({str(marker)!r}, 'w')"),
        "pickle.loads": Call(pickle.loads, inner.read_bytes()),
        "getattr": Call(getattr, Call(Path, str(marker)), "touch"),
    }


def asking(name: str, marker: Path) -> dict[str, Any]:
    """Plain data that asks for one of `NAMES`."""
    pickled = marker.with_name("pickled")
    torch.save(Call(Path.touch, marker), pickled)
    arguments = {
        key: value.format(marker=marker, pickled=pickled) if isinstance(value, str) else value
        for key, value in NAMES[name].items()
    }
    return {"_target_": name, **arguments}


def planted(description: dict[str, Any], where: str, thing: Any) -> None:
    *parents, last = where.split(".")
    node: Any = description
    for parent in parents:
        node = node[parent]
    node[last] = thing


def closed(thing: Any) -> None:
    """Close what open() has returned."""
    getattr(thing, "close", lambda: None)()


def refused(done: CompletedProcess[str], *mentioned: str) -> None:
    """The command ended with one line, which names the culprit, and code 2."""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.returncode == 2
    for text in mentioned:
        assert text in done.stderr


def tampered(run: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the content of the run's last.ckpt."""
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def refused_everywhere(run: Path, command: Command, marker: Path) -> None:
    """By load_model, sample.py, export.py and init_from=."""
    for path in (run, run / "checkpoints" / "last.ckpt"):
        with pytest.raises(CheckpointError) as caught:
            load_model(path)
        assert str(run) in str(caught.value) and "\n" not in str(caught.value)
    refused(command("sample.py", f"ckpt_path={run}", "num_samples=1"), str(run))
    refused(command("export.py", f"ckpt_path={run}", "out=shared"), str(run))
    refused(command("train.py", *TINY, f"init_from={run}", "callbacks=no_samples"), f"init_from={run}")
    assert not marker.exists()
