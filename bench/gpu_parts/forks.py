"""Do something in a copy of this process: its crash, its CUDA errors and its memory end with it, and it can be stopped.

The copy need not import anything anew. CUDA cannot be used in a copy of a process that has used it, so whoever calls this does not.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

from parts.settings import Skipped


class Ended(NamedTuple):
    """How a copy has ended: in a word, with the reason where there is one.

    `word` is one of "measured", "left out", "failed", "stopped".
    """

    word: str
    reason: str
    seconds: float

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.word.capitalize()} after {self.seconds:.0f} s{reason}."


def in_fork(action: Callable[[], None], seconds: float) -> Ended:
    """Call `action` in a copy of this process, and stop it with all processes that it has started after so many seconds."""
    start = time.monotonic()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(action, sending))
    process.start()
    assert process.pid is not None
    # the copy does the same; whoever comes first, the group is there before it is stopped
    with contextlib.suppress(OSError):
        os.setpgid(process.pid, process.pid)
    sending.close()
    try:
        process.join(max(seconds, 0))
        in_time = not process.is_alive()
    finally:
        _stop(process.pid)
        process.join()
    took = time.monotonic() - start
    if not in_time:
        return Ended("stopped", "its time was over", took)
    try:
        word, reason = receiving.recv()
    except EOFError:
        word, reason = "failed", f"the process ended with exit code {process.exitcode}"
    return Ended(word, reason, took)


def _stop(group: int) -> None:
    """Kill what is left of a group of processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _call(action: Callable[[], None], sending: Connection) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        action()
    except Skipped as error:
        sending.send(("left out", _line(error)))
    except Exception as error:
        traceback.print_exc()
        sending.send(("failed", f"{type(error).__name__}: {_line(error)}"))
    else:
        sending.send(("measured", ""))


def _line(error: Exception) -> str:
    """What an error says, on one line that is not too long."""
    return " ".join(str(error).split())[:300]
