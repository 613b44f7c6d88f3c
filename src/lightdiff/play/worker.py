"""The one place where the page computes: one step at a time, whoever has asked for it."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from lightdiff.config.instantiate import ConfigError
from lightdiff.data.errors import DataError, DownloadError
from lightdiff.model import CheckpointError

Result = TypeVar("Result")
EXPECTED = (ConfigError, CheckpointError, DataError, DownloadError, ValueError)
"""Errors whose message is one line for the visitor."""


class Refused(Exception):
    """What a visitor has asked for cannot be done; the message is one line."""


class Worker:
    """Computes for all visitors.

    Gradio's queue decides who is next, and ends a visitor's work between two steps. A step that is still being computed then
    has to end before the next visitor's first one begins, which the lock here sees to. It is held for a single step, so that
    work that is given up never keeps others from theirs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def call(self, function: Callable[[], Result]) -> Result:
        """Compute a single result.

        Raises:
            Refused: one line that says what is wrong.
        """
        with self._lock:
            return _in_one_line(function)

    def each(self, start: Callable[[], Iterator[Result]]) -> Iterator[Result]:
        """Yield the results of a generator, each of which is computed in its turn.

        Args:
            start: returns the generator.

        Raises:
            Refused: one line that says what is wrong.
        """
        results = self.call(start)
        end = object()
        while True:
            result = self.call(lambda: next(results, end))
            if result is end:
                return
            yield result  # type: ignore[misc]


def _in_one_line(function: Callable[[], Result]) -> Result:
    """Call a function; whatever it raises becomes one line. The trace of what nobody expected goes to the terminal."""
    try:
        return function()
    except EXPECTED as error:
        raise Refused(" ".join(str(error).split())) from error
    except Exception as error:
        traceback.print_exception(error)
        said = " ".join(str(error).split())[:200]
        raise Refused(f"this failed: {type(error).__name__}: {said} (the terminal has more)") from error
