"""Tuples that hold each other many times: refused before the reader of pickles hashes them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from lightdiff.model import CheckpointError, read_checkpoint
from lightdiff.model.pickled import check_pickle

MAX = 1_000_000


def doubled(depth: int) -> bytes:
    """A pickle of {t: 1}, where t is () and then `depth` times (t, t)."""
    return b"\x80\x02}" + b")" + b"q\x01h\x01\x86" * depth + b"K\x01s."


def nested(depth: int) -> bytes:
    """The same with (t,)."""
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"K\x01s."


def with_pickle(path: Path, data: bytes) -> Path:
    torch.save({"a": 1}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, data if name.endswith("data.pkl") else content)
    return path


@pytest.mark.parametrize("data", [doubled(60), nested(100_000)], ids=["wide", "deep"])
def test_it_is_refused_at_once(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"t\.ckpt: not loaded, it has a tuple of more than 1000000 values or 100"
    ):
        read_checkpoint(with_pickle(tmp_path / "t.ckpt", data))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        *((), (1, 2, 3), ((1, 2), (3, (4, 5))), {(1, 2): [3, {"a": (4,)}]}, {"a": [1] * 5000}, tuple(range(5000))),
        *({1, 2}, frozenset([1]), b"bytes", 10**100, 1.5, None, True, "text" * 100, complex(1, 2), Path("a")),
    ],
    ids=repr,
)
def test_whatever_is_plain_passes(value: Any, protocol: int) -> None:
    check_pickle(pickle.dumps([value, value], protocol), MAX)


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"\x85.", b"h\x07.", b"(\x85.", b"t.", b"\xff", b"s.", b"q\x01."])
def test_a_garbled_one_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        check_pickle(data, MAX)


def test_the_same_tuple_counts_wherever_it_stands() -> None:
    check_pickle(doubled(18), MAX)
    with pytest.raises(ValueError, match="tuple"):
        check_pickle(doubled(19), MAX)
