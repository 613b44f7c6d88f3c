"""Points of the curves that a run has logged, read from TensorBoard's event files or from metrics.csv."""

from __future__ import annotations

import contextlib
import csv
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightdiff.utils.files import lies_in

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

LARGEST_SCALAR = 4096
"""Bytes of the largest event that is read. Events with scalars are far smaller, events with pictures far larger."""


class Point(NamedTuple):
    """A value of a curve.

    Args:
        name: of the curve, such as "val/loss".
        step: optimizer steps done.
        value: the value.
    """

    name: str
    step: int
    value: float


def read_points(folder: Path) -> Iterator[Point]:
    """Yield the points of a run in the order in which they were written. What cannot be read ends its file."""
    # the name of an event file holds the time of its start
    readers = dict.fromkeys(sorted(folder.glob("events.out.tfevents.*")), _read_scalars)
    for path, read in (readers | {folder / "metrics.csv": _read_csv}).items():
        if path.is_file() and lies_in(path, folder):
            with contextlib.suppress(OSError):
                yield from read(path)


def _read_scalars(path: Path) -> Iterator[Point]:
    for event in read_events(path):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield Point(value.tag, event.step, value.simple_value)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file, without large ones such as pictures. What cannot be read ends the file.

    It holds records of: length (8 bytes), checksum (4), a serialized `Event`, checksum (4).

    Raises:
        OSError: the file cannot be read.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if length > LARGEST_SCALAR:
                # a length that is no length ends the loop, because nothing is read behind the end of a file
                file.seek(min(length, 2**40) + 4, 1)
                continue
            try:
                event = Event.FromString(file.read(length))
            except DecodeError:
                return
            file.seek(4, 1)
            yield event


def _read_csv(path: Path) -> Iterator[Point]:
    with path.open(newline="", errors="replace", encoding="utf-8") as file:
        try:
            for row in csv.DictReader(file):
                for name, cell in row.items():
                    if cell and name != "step":
                        yield Point(name, int(row["step"]), float(cell))
        except (ValueError, KeyError, TypeError, csv.Error):
            return
