"""Let a command go on whatever becomes of its output.

Nobody may read it any more (`train.py | head`, a closed terminal, a log file on a full disk), and it may be unable to show some
letters (the locale C).
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any


def survive_lost_output() -> None:
    """From now on standard output and standard error fall silent when they cannot be written to, instead of raising an error.

    A character that they cannot show is written as its number, as in \\xfc.

    Streams that something else has put in their place, such as a notebook or a test, stay as they are.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # the command was started with a closed one
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            surviving = _surviving(stream)
            setattr(sys, name, surviving)
            setattr(sys, f"__{name}__", surviving)


def _surviving(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream into the same file that behaves alike and survives."""
    file: Any = _Surviving(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        # as Python itself does it with -u
        file if stream.write_through else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Surviving(io.FileIO):
    """A file of which writing never fails."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
            return len(data)
