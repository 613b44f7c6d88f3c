"""Event files of TensorBoard, which are read in the order in which a run has written them, whatever the clock said."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

VERSION = "brain.Event:2"
"""Mark of the format at the start of each file."""


def next_event_file(folder: Path) -> Path:
    """Return the path of a new event file in `folder`.

    The name begins with a time in seconds, as TensorBoard's own writer names its files: the time of the clock, or the second
    after the newest file's where the clock is not later than that. TensorBoard reads the files in the order of their names and
    drops points of the earlier ones that the later ones write again. After a clock was set back, a resumed run would otherwise
    come before its own first half.
    """
    found = (re.match(r"events\.out\.tfevents\.(\d{10})\.", path.name) for path in folder.iterdir())
    newest = max((int(match[1]) for match in found if match), default=0)
    seconds = max(int(time.time()), newest + 1)
    return folder / f"events.out.tfevents.{seconds:010d}.{socket.gethostname()}.{os.getpid()}.0"


class EventFile:
    """A new event file, which holds each event as soon as `add_event` returns.

    Args:
        folder: folder of the file; it is made if need be, but not the folder above it.

    Raises:
        OSError: the file cannot be written, or it was moved or deleted since the last event.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.path = next_event_file(folder)
        self._file = self.path.open("xb")
        self._records = RecordWriter(self._file)
        self.add_event(Event(wall_time=time.time(), file_version=VERSION))

    def get_logdir(self) -> str:
        """Return the folder of the file."""
        return str(self.path.parent)

    def add_event(self, event: Any) -> None:
        """Write an event."""
        # an open file takes events after it was moved or deleted too, where nobody would find them
        self.path.stat()
        self._records.write(event.SerializeToString())
        self._file.flush()

    def flush(self) -> None:
        """Do nothing, because every event is written at once."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
