"""The line that shows how far a task is."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from lightdiff.utils import progress as module
from lightdiff.utils.progress import SCREEN, Task, clock, in_words, progress
from waiting import PATIENCE


class Terminal(io.StringIO):
    """A terminal without a file number, which keeps what was written to it."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make a terminal the standard output; in a fixture pytest would undo it before the test begins."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    return terminal


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (760.4, "12:40"), (3731, "1:02:11")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1, "1 second"),
        (40.2, "40 seconds"),
        (2880, "48 minutes"),
        (12600, "3.5 hours"),
        (1e6, "12 days"),
    ],
)
def test_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


def test_time_left_is_that_of_the_remaining_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    task = Task("drawing samples", total=1000)
    assert task.seconds_left() is None
    task.advance(120)
    now = 112.0
    assert task.seconds_left() == pytest.approx(88)
    assert task.line() == "drawing samples 120/1000: 0:12, 1:28 left"
    assert task.line(60).startswith("drawing samples 120/1000 |█")
    assert all(len(task.line(width)) <= width for width in (10, 30, 40, 60, 200))


def test_a_task_within_another_takes_its_place_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress("training", total=2) as outer:
        outer.advance()
        with progress("drawing samples", total=30):
            pass
    shown = [line.partition(" |")[0] for line in lines(terminal.getvalue())]
    assert shown == ["training 0/2", "drawing samples 0/30", "training 1/2"]


def test_nothing_is_left_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress("drawing samples", total=30):
        pass
    written = terminal.getvalue()
    assert written.endswith("\r")
    assert not written.rsplit("\r", 2)[1].strip()
    assert "\n" not in written


def test_printed_lines_stay_above(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress("training", total=2):
        SCREEN.print("this run: 48 minutes")
    assert "\rthis run: 48 minutes\n" in terminal.getvalue()


def test_the_clock_moves_while_a_step_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    drawn_again = threading.Event()
    times = iter(range(10_000))
    monkeypatch.setattr(SCREEN, "refresh_seconds", 0.01)
    monkeypatch.setattr(module, "clock", lambda seconds: (drawn_again.set() if next(times) > 2 else None) or "0:00")
    with progress("training", total=2):
        assert drawn_again.wait(PATIENCE)


def test_a_file_gets_lines_and_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    enough = threading.Event()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(SCREEN, "line_seconds", 0.01)
    with progress("drawing samples", total=30) as task:
        task.done = 3
        line, count = task.line, iter(range(10_000))
        monkeypatch.setattr(task, "line", lambda: (enough.set() if next(count) > 1 else None) or line())
        assert enough.wait(PATIENCE)
    assert "\r" not in file.getvalue()
    assert {line.partition(":")[0] for line in file.getvalue().splitlines()} == {"drawing samples 3/30"}


def test_a_notebook_shows_the_line_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output is no terminal and may have the file number of the terminal in which Jupyter runs."""
    kind = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream", "fileno": lambda self: 1})
    output = kind()
    monkeypatch.setattr(sys, "stdout", output)
    with progress("drawing samples", total=30):
        pass
    assert "\rdrawing samples 0/30 |" in output.getvalue()


def test_a_closed_output_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(file, "write", lambda text: (_ for _ in ()).throw(BrokenPipeError()))
    with progress("drawing samples", total=30) as task:
        task.advance()
    assert task.done == 1


def test_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    before = set(threading.enumerate())
    with progress("drawing samples"), progress("reading"):
        pass
    # those of the test runner itself never end
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(timeout=PATIENCE)
    assert not any(thread.is_alive() for thread in left)
