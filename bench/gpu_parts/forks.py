"""Do something in a copy of this process: its crash, its CUDA errors and its memory end with it, and it can be stopped.

The copy need not import anything anew. A copy cannot use CUDA where its origin has used it, so whoever calls this has not.
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
from typing import Any, NamedTuple

from parts.settings import Skipped


class Ended(NamedTuple):
    """How a copy has ended.

    `word` is one of "measured", "left out", "failed", "stopped"; `value` is what the action has returned.
    """

    word: str
    reason: str
    seconds: float
    value: Any = None

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.word.capitalize()} after {self.seconds:.0f} s{reason}."


def in_fork(action: Callable[[], Any], seconds: float) -> Ended:
    """Call an action in a copy of this process, and stop it with all processes that it has started after so many seconds.

    `Skipped` raised by the action counts as left out; any other exception is printed and counts as failed.
    """
    start = time.monotonic()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # the copy of a copy stays in its group, so that it is stopped with it
    grouped = multiprocessing.parent_process() is None
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(action, sending, grouped))
    process.start()
    assert process.pid is not None
    if grouped:
        # the copy does the same; whoever comes first, the group is there before it is stopped
        with contextlib.suppress(OSError):
            os.setpgid(process.pid, process.pid)
    sending.close()
    try:
        late = ("stopped", "its time was over", None)
        word, reason, value = receiving.recv() if receiving.poll(max(seconds, 0)) else late
    except EOFError:
        process.join()
        word, reason, value = "failed", f"the process ended with exit code {process.exitcode}", None
    finally:
        if grouped:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
    return Ended(word, reason, time.monotonic() - start, value)


def _call(action: Callable[[], Any], sending: Connection, grouped: bool) -> None:
    if grouped:
        os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        result = ("measured", "", action())
    except Skipped as error:
        result = ("left out", one_line(error), None)
    except Exception as error:
        traceback.print_exc()
        result = ("failed", f"{type(error).__name__}: {one_line(error)}", None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    sending.send(result)


def one_line(error: Exception) -> str:
    """What an error says, on one line that is not too long."""
    return " ".join(str(error).split())[:300]
