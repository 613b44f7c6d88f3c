"""The one limit of every wait in the tests. A loaded machine makes a test slow and never makes it fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

PATIENCE = 900
"""Seconds until a test gives up. Below the 30 minutes after which processes of one run stop waiting for each other."""


class Process(Protocol):
    """What has an exit code once it has ended."""

    def poll(self) -> int | None: ...


def until(condition: Callable[[], Any], *processes: Process, pause: float = 0.02) -> bool:
    """Wait for the condition; False: one of the processes ended before it came true.

    Args:
        condition: what is awaited.
        processes: those that are to bring it about.
        pause: seconds between two looks.

    Raises:
        AssertionError: neither happened within `PATIENCE`.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if any(process.poll() is not None for process in processes):
            return bool(condition())
        assert time.monotonic() < deadline, "nothing happens any more"
        time.sleep(pause)
    return True
