"""A limit on the images that are decoded at the same time, because a decoded image can be thousands of times its file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_PIXELS = 100_000_000
"""Pixels that the threads of a process decode at the same time; in colour they take about a gigabyte."""


class InFlight:
    """Count of the pixels that threads are working on; a thread waits until its image fits beside those of the others.

    Args:
        limit: largest sum of pixels. A single image may be larger, and is then the only one.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pixels = 0
        self._changed = threading.Condition()
        self._thread = threading.local()

    @contextmanager
    def image(self) -> Iterator[None]:
        """Begin and end the work on an image; in between `claim` says how large it is."""
        self._thread.pixels = 0
        try:
            yield
        finally:
            with self._changed:
                self._pixels -= self._thread.pixels
                self._changed.notify_all()
            del self._thread.pixels

    def claim(self, pixels: int) -> None:
        """Wait until there is room for this many pixels, and take it until `image` ends; outside of `image` do nothing."""
        if not hasattr(self._thread, "pixels"):
            return
        with self._changed:
            self._changed.wait_for(lambda: self._pixels == 0 or self._pixels + pixels <= self.limit)
            self._pixels += pixels
        self._thread.pixels += pixels


in_flight = InFlight(MAX_PIXELS)
"""The images of this process."""
