"""Limits on the files of a model from a stranger, checked before anything in them can fill memory or time.

Each function raises a ValueError of a few words; its callers add the name of the file.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from lightdiff.model.pickled import check_pickle

MAX_NODES = 1_000_000
"""Most values that a checkpoint may hold, with those that it holds in several places counted in each. Real ones have a few
thousand."""
MAX_HEADER = 20_000_000
"""Bytes of the largest list of tensors in a safetensors file, which takes about 100 for each, and of the largest config.json."""

_START = b"PK\x03\x04"
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")


def check_archive(file: BinaryIO) -> None:
    """Refuse a file that is not laid out as torch.save does it, unpacks to more than its own size, or fails its checksums.

    torch has a reader of archives of its own. Only in a file of the plain layout is it certain to find the same entries in it as
    Python's reader, which is used here.
    """
    start = file.read(len(_START))
    size = file.seek(0, os.SEEK_END)
    file.seek(-min(size, _END_64.size + _LOCATOR.size + _END.size), os.SEEK_END)
    tail = file.read()
    if start != _START:
        raise ValueError("it is no archive of torch.save")
    directory = _directory(tail, size)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError("it is truncated or no archive of torch.save") from error
    with archive:
        if archive.start_dir != directory:
            raise ValueError("it is no archive of torch.save")
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > size:
            raise ValueError(f"it unpacks to {unpacked} bytes, more than a checkpoint of its size has")
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                check_pickle(archive.read(entry), MAX_NODES)
        # torch.load does not look at the checksums
        garbled = archive.testzip()
    if garbled is not None:
        raise ValueError(f"{garbled} is garbled")


def _directory(tail: bytes, size: int) -> int:
    """Return where in an archive of `size` bytes the list of its entries begins, read off its last bytes."""
    if len(tail) < _END.size:
        raise ValueError("it is truncated")
    signature, *_, offset, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\x05\x06" or comment != 0:
        raise ValueError("it is truncated or no archive of torch.save")
    before = tail[: -_END.size]
    if before[-_LOCATOR.size :].startswith(b"PK\x06\x07"):
        _, _, place, _ = _LOCATOR.unpack(before[-_LOCATOR.size :])
        if place != size - len(tail) or not tail.startswith(b"PK\x06\x06"):
            raise ValueError("it is no archive of torch.save")
        *_, offset = _END_64.unpack(tail[: _END_64.size])
    return int(offset)


def check_size(data: Any) -> None:
    """Refuse plain data that is larger than any checkpoint's: lists that hold a list many times, which hold another many times.

    Such data take little memory, because each list exists once, but printing or copying them would never end.
    """
    if _expanded_size(data, {}) > MAX_NODES:
        raise ValueError(f"it holds more than {MAX_NODES} values")


def _expanded_size(data: Any, known: dict[int, float]) -> float:
    """Count a value and all in it, in every place where it stands; infinite if it contains itself.

    Args:
        data: where to begin.
        known: sizes by the id of the value, filled on the way, so that each is counted once.
    """
    if isinstance(data, str | bytes | bytearray):
        return 1 + len(data) // 100
    if not isinstance(data, Mapping | list | tuple | set | frozenset):
        return 1
    if id(data) not in known:
        # stands while the values inside are counted, so that meeting this one again among them gives infinity
        known[id(data)] = math.inf
        children = [*data.keys(), *data.values()] if isinstance(data, Mapping) else data
        known[id(data)] = 1 + sum(_expanded_size(child, known) for child in children)
    return known[id(data)]


def check_length(file: Path) -> None:
    """Refuse a JSON file longer than `MAX_HEADER` bytes."""
    if file.stat().st_size > MAX_HEADER:
        raise ValueError(f"it has more than {MAX_HEADER} bytes")


def check_header(file: Path) -> None:
    """Refuse a safetensors file whose list of tensors, which is parsed as a whole, is longer than `MAX_HEADER` bytes."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"its list of tensors has {length} bytes, more than {MAX_HEADER}")


def check_fit(built: Mapping[str, Tensor], stored: Mapping[str, Any]) -> None:
    """Refuse stored weights that are not those of the model that the file describes, or are smaller than they seem.

    Args:
        built: weights of the model by name; they may lie on the device "meta", which takes no memory.
        stored: weights of the file by name; it may hold others as well.
    """
    needed, there = 0, {}
    for name, weight in built.items():
        found = stored.get(name)
        if not isinstance(found, Tensor) or found.shape != weight.shape:
            shape = list(found.shape) if isinstance(found, Tensor) else None
            raise ValueError(f"{name} is {shape} in this file and {list(weight.shape)} in the model that it describes")
        needed += found.numel() * found.element_size()
        storage = found.untyped_storage()
        there[storage.data_ptr()] = 0 if found.is_meta else storage.nbytes()
    # numbers that stand in many places of the model take space once in the file, but every time in the model
    if needed > sum(there.values()):
        raise ValueError(f"its weights have {sum(there.values())} bytes, the model that it describes {needed}")
