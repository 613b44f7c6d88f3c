"""Read files of plain bytes: IDX, the format of MNIST, and rows of equal length. Sizes are checked before anything is read."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import torch
from torch import Tensor

from lightdiff.data.errors import DataError

LARGEST = 2**30
"""Bytes of the largest file to read. Those of the data sets have 47 million at most."""


def size_of(path: Path) -> int:
    """Return the number of bytes in a file.

    Raises:
        DataError: the file is missing, or has more bytes than `LARGEST`.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if size > LARGEST:
        raise DataError(f"{path}: {size} bytes, which no file of this data set has; remove it to start anew")
    return size


def read_idx(path: Path, *shape: int | None) -> Tensor:
    """Read an IDX file of unsigned bytes.

    Args:
        path: the file: 0, 0, 8, the number of dimensions, each dimension as a big-endian int32, the values.
        shape: the dimensions that are expected; None stands for any number from 1 up.

    Returns:
        uint8, of the shape in the header.

    Raises:
        DataError: the file is missing, too large, of another format or shape, or has more or fewer values than its header says.
    """
    size, start = size_of(path), 4 + 4 * len(shape)
    head = _read(path, min(size, start))
    if len(head) < start or head[:4] != bytes([0, 0, 8, len(shape)]):
        raise DataError(f"{path}: no IDX file of {len(shape)} dimensions; remove it to start anew")
    found = struct.unpack(f">{len(shape)}I", head[4:])
    if not all(number == (wanted or max(number, 1)) for number, wanted in zip(found, shape, strict=True)):
        expected = " x ".join("any" if number is None else str(number) for number in shape)
        raise DataError(f"{path}: values of {' x '.join(map(str, found))}, but {expected} are expected")
    if size != start + math.prod(found):
        raise DataError(f"{path}: {size} bytes, but by its header {start + math.prod(found)}; remove it to start anew")
    return torch.frombuffer(_read(path, size), dtype=torch.uint8, offset=start).reshape(found)


def read_rows(path: Path, row_bytes: int) -> Tensor:
    """Read a file of rows of equal length as uint8 (rows, row_bytes).

    Raises:
        DataError: the file is missing or too large, or has no whole number of rows, at least one.
    """
    size = size_of(path)
    if not size or size % row_bytes:
        raise DataError(f"{path}: {size} bytes are not a whole number of images of {row_bytes} bytes")
    return torch.frombuffer(_read(path, size), dtype=torch.uint8).reshape(-1, row_bytes)


def _read(path: Path, size: int) -> bytearray:
    """Read so many bytes, even if the file has grown meanwhile.

    Raises:
        DataError: the file cannot be read, or has fewer bytes.
    """
    try:
        with path.open("rb") as file:
            content = bytearray(file.read(size))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if len(content) != size:
        raise DataError(f"{path}: {len(content)} of {size} bytes could be read")
    return content
