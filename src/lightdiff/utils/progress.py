"""Show how far a long task is: one line that is drawn again and again on a terminal, a line now and then in a log file.

    with progress("drawing samples", total=1000) as task:
        for state in trajectory:
            task.advance()

A task that begins while another one is on show takes its place until it ends. A thread draws the line, so that its clock
moves while a single step takes long; the task itself only counts and so costs nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator

BAR_WIDTH = 20
"""Columns of the bar itself, where the terminal has room for them."""
LEAST_BAR_WIDTH = 5
"""Below so many columns a bar says nothing and is left out."""


class Task:
    """A task on show.

    Args:
        description: what is being done.
        total: how many steps it has; None: not known.
    """

    def __init__(self, description: str, total: int | None = None) -> None:
        self.description, self.total = description, total
        self.done = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Count the seconds of this task from now on."""
        self._started, self._skipped = time.monotonic(), self.done

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more steps as done."""
        self.done += steps

    @property
    def elapsed(self) -> float:
        """Seconds since the task began."""
        return time.monotonic() - self._started

    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at the pace so far; None: not known yet."""
        steps = self.done - self._skipped
        return None if self.total is None or steps < 1 else self.elapsed / steps * (self.total - self.done)

    def notes(self) -> list[str]:
        """What stands behind the bar."""
        left = self.seconds_left()
        return [clock(self.elapsed), *([] if left is None else [f"{clock(left)} left"])]

    def line(self, width: int | None = None) -> str:
        """Return the task as one line, with a bar where a `width` in columns is given, which the line then keeps to."""
        head = self.description if self.total is None else f"{self.description} {self.done}/{self.total}"
        tail = ", ".join(self.notes())
        if width is None:
            return f"{head}: {tail}"
        room = min(BAR_WIDTH, width - len(head) - len(tail) - 4)
        if self.total and room >= LEAST_BAR_WIDTH:
            full = round(room * min(1.0, self.done / self.total))
            tail = f"{_BLOCK * full}{' ' * (room - full)}| {tail}"
        return f"{head} |{tail}"[:width]


class Screen:
    """The one line of this process, on which the task that began last is on show.

    Attributes:
        refresh_seconds: seconds between two drawings on a terminal.
        line_seconds: seconds between two lines where the output is no terminal.
    """

    def __init__(self) -> None:
        self.refresh_seconds, self.line_seconds = 0.5, 30.0
        self._tasks: list[Task] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._length = 0

    def begin(self, task: Task) -> None:
        """Put a task on show."""
        with self._lock:
            self._tasks.append(task)
            if len(self._tasks) == 1:
                self._ended = threading.Event()
                threading.Thread(target=self._keep_drawing, args=(self._ended,), daemon=True).start()
            if _redraws():
                self._draw()

    def end(self, task: Task, *, keep: bool = False) -> None:
        """Take a task off again, if it is on show; `keep` leaves its last line on the terminal."""
        with self._lock:
            if task not in self._tasks:
                return
            last_line = task.line(_columns()) if keep and _redraws() else None
            self._tasks.remove(task)
            self._erase()
            if last_line is not None:
                _write(f"{last_line}\n")
            if not self._tasks:
                self._ended.set()
            elif _redraws():
                self._draw()

    def print(self, text: str) -> None:
        """Print lines above the one that is drawn again and again."""
        with self._lock:
            self._erase()
            _write(f"{text}\n")
            if _redraws():
                self._draw()

    def _keep_drawing(self, ended: threading.Event) -> None:
        while not ended.wait(self.refresh_seconds if _redraws() else self.line_seconds):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        if not self._tasks:
            return
        if not _redraws():
            _write(f"{self._tasks[-1].line()}\n")
            return
        line = self._tasks[-1].line(_columns())
        _write(f"\r{line.ljust(self._length)}")
        self._length = len(line)

    def _erase(self) -> None:
        if self._length:
            _write(f"\r{' ' * self._length}\r")
            self._length = 0


SCREEN = Screen()
"""The line of this process."""


@contextlib.contextmanager
def progress(description: str, total: int | None = None, *, shown: bool = True) -> Iterator[Task]:
    """Show a task while the block runs, which counts its steps by `task.advance()`.

    Args:
        description: what is being done.
        total: how many steps it has; None: not known.
        shown: False counts without showing anything.
    """
    task = Task(description, total)
    if not shown:
        yield task
        return
    SCREEN.begin(task)
    try:
        yield task
    finally:
        SCREEN.end(task)


def clock(seconds: float) -> str:
    """Return "0:07", "12:40" or "1:02:11"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def in_words(seconds: float) -> str:
    """Return a rough duration for a sentence: "40 seconds", "48 minutes", "3.5 hours", "12 days"."""
    for unit, size, digits in (("day", 86400, 0), ("hour", 3600, 1), ("minute", 60, 0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{digits}f} {unit}s"
    return f"{max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"


def _redraws() -> bool:
    """Whether the output can show one line again and again: a terminal or a notebook, but no file and no pipe."""
    return sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")


def _columns() -> int:
    """Columns that a line may have, so that the cursor stays in it."""
    return shutil.get_terminal_size().columns - 1


def _write(text: str) -> None:
    """Write to the standard output at once; a closed one must not end the work that is on show."""
    with contextlib.suppress(OSError, ValueError):
        # what replaces the standard output, in a notebook, say, may have the file number of something else
        is_replaced = sys.stdout is not sys.__stdout__
        if is_replaced:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        # past the buffer of sys.stdout: a data loader's process that is forked while the drawing thread holds the buffer's
        # lock would wait for that lock for ever when it ends
        os.write(sys.stdout.fileno(), text.encode(sys.stdout.encoding, errors="replace"))


def _block() -> str:
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"


_BLOCK = _block()
"""What a bar is filled with."""
