"""The one place where the page computes, and the folder of its temporary files."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightdiff.config.instantiate import ConfigError
from lightdiff.play.folder import own_folder
from lightdiff.play.worker import Refused, Worker


def test_steps_of_several_visitors_are_computed_one_at_a_time() -> None:
    worker, inside, most = Worker(), 0, 0
    ready, results = threading.Barrier(4), []

    def steps(name: int) -> Iterator[tuple[int, int]]:
        nonlocal inside, most
        for step in range(50):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.0005)
            inside -= 1
            yield name, step

    def visitor(name: int) -> None:
        ready.wait()
        results.extend(worker.each(lambda: steps(name)))

    threads = [threading.Thread(target=visitor, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert sorted(results) == [(name, step) for name in range(4) for step in range(50)]


def test_work_that_is_given_up_keeps_nobody_from_theirs() -> None:
    worker = Worker()
    given_up = worker.each(lambda: iter(range(100)))
    assert next(given_up) == 0
    assert list(worker.each(lambda: iter("ab"))) == ["a", "b"]
    assert next(given_up) == 1


def test_errors_become_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    worker = Worker()

    def refuse() -> None:
        raise ConfigError("steps=0:\n1 or more")

    def fail() -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(Refused, match="^steps=0: 1 or more$"):
        worker.call(refuse)
    assert capsys.readouterr().err == ""
    with pytest.raises(Refused, match="^this failed: ZeroDivisionError: by nothing"):
        worker.call(fail)
    assert "Traceback" in capsys.readouterr().err
    # the lock is free again
    assert worker.call(lambda: 3) == 3


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_nothing_is_left_behind(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), own_folder() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()
        assert folder.parent == temporary
        raise KeyboardInterrupt
    assert [*temporary.iterdir()] == []


def test_the_folder_of_a_killed_server_is_removed_by_the_next_one(temporary: Path) -> None:
    killed, other = temporary / "lightdiff-play-killed", temporary / "lightdiff-play-without-lock"
    for folder in (killed, other):
        folder.mkdir()
    (killed / ".lock").touch()
    (killed / "upload.png").touch()
    with own_folder() as running:
        assert not killed.exists() and other.exists()
        with own_folder():
            assert running.exists()
