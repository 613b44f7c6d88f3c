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
        seconds: for how long the run had been worked on. Pauses between one process and the next do not count. None where the
            file holds no times, which is the case for metrics.csv.
    """

    name: str
    step: int
    value: float
    seconds: float | None = None


def read_points(folder: Path) -> Iterator[Point]:
    """Yield the points of a run in the order in which they were written. What cannot be read ends its file."""
    worked = 0.0
    # the name of an event file holds the time of its start
    for path in sorted(folder.glob("events.out.tfevents.*")):
        if path.is_file() and lies_in(path, folder):
            last = worked
            with contextlib.suppress(OSError):
                for point in _read_scalars(path, worked):
                    last = max(last, point.seconds or 0.0)
                    yield point
            worked = last
    path = folder / "metrics.csv"
    if path.is_file() and lies_in(path, folder):
        with contextlib.suppress(OSError):
            yield from _read_csv(path)


def _read_scalars(path: Path, worked: float) -> Iterator[Point]:
    """Yield the scalars of an event file.

    Args:
        path: the file of one process.
        worked: seconds for which earlier processes have worked on the run.
    """
    started: float | None = None
    for event in read_events(path):
        started = event.wall_time if started is None else started
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield Point(value.tag, event.step, value.simple_value, worked + event.wall_time - started)


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
