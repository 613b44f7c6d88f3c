"""Get missing files, or say within seconds where they belong.

Files appear at their place complete or not at all, and two processes never download at once.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from lightdiff.data.errors import DataError

PROBE_SECONDS = 4.0
"""How long to wait for the first server to answer (in threads, as looking up a name knows no time limit)."""

STALL_SECONDS = 8.0
"""How long a connection may stay silent."""


def ensure_files(
    name: str, folder: Path, files: Sequence[str], urls: Sequence[str], download: Callable[[Path], Path]
) -> None:
    """Return when all `files` are in `folder`, after downloading them where they are not.

    Args:
        name: the data set, for messages.
        folder: where the files belong.
        files: their names.
        urls: where they come from; one of them must answer.
        download: puts them below the folder it is given and returns where.

    Raises:
        DataError: no network, a failed download, or a folder that cannot be written.
    """
    if _complete(folder, files):
        return
    try:
        if not any_answers(urls):
            raise DataError(f"no answer from {', '.join(dict.fromkeys(urlsplit(url).netloc for url in urls))}")
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            if not _complete(folder, files):
                _download(folder, files, folder / f".{name}.download", download)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name}: no data in {folder} and no download ({reason}); put {', '.join(files)} there, "
            "or choose dataset=digits, which needs no files"
        ) from error


def _complete(folder: Path, files: Sequence[str]) -> bool:
    return all((folder / file).is_file() for file in files)


def _download(folder: Path, files: Sequence[str], scratch: Path, download: Callable[[Path], Path]) -> None:
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed process left: the lock makes sure that nobody uses it
    scratch.mkdir()
    try:
        with connection_timeout(STALL_SECONDS):
            found = download(scratch)
        for file in files:
            (found / file).replace(folder / file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def connection_timeout(seconds: float) -> Iterator[None]:
    """torchvision sets no time limit: without one a firewall that drops packets hangs the run."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def any_answers(urls: Sequence[str], seconds: float | None = None) -> bool:
    """Whether one of the servers answers within `seconds` (default `PROBE_SECONDS`)."""
    answers: queue.Queue[bool] = queue.Queue()
    deadline = time.monotonic() + (PROBE_SECONDS if seconds is None else seconds)
    for url in urls:
        threading.Thread(target=lambda url=url: answers.put(_answers(url)), daemon=True).start()
    for _ in urls:
        try:
            if answers.get(timeout=max(0.0, deadline - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:  # it does answer
        error.close()
    except Exception:
        return False
    return True
