"""Download missing files, or say within seconds where to put them.

A file appears at its place complete or not at all, and two processes never download at the same time.
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
from contextvars import ContextVar
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from lightdiff.data.errors import DataError, DownloadError

PROBE_SECONDS = 4.0
"""How long to wait for the first server to answer. Threads wait, because looking up a server's name has no time limit."""

STALL_SECONDS = 8.0
"""How long a connection may stay silent."""

_FORBIDDEN = ContextVar("_FORBIDDEN", default=False)


@contextlib.contextmanager
def nothing_downloaded() -> Iterator[None]:
    """Let missing files be an error at once while the block runs, in place of a download; no server is asked."""
    token = _FORBIDDEN.set(True)
    try:
        yield
    finally:
        _FORBIDDEN.reset(token)


def ensure_files(
    name: str, folder: Path, files: Sequence[str], urls: Sequence[str], download: Callable[[Path], Path]
) -> None:
    """Make sure that all `files` are in `folder`; download them if one is missing.

    Args:
        name: name of the data set, for messages.
        folder: where the files belong.
        files: names of the files.
        urls: addresses that the files come from; one of their servers must answer.
        download: downloads the files below the folder it is given, and returns the folder in which they are then.

    Raises:
        DownloadError: there is no network, the download has failed, or the folder cannot be written.
    """
    if _complete(folder, files):
        return
    if _FORBIDDEN.get():
        raise DownloadError(f"{name}: no data in {folder}; say where they are by data_dir")
    try:
        if not any_answers(urls):
            raise DataError(f"no answer from {', '.join(dict.fromkeys(urlsplit(url).netloc for url in urls))}")
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            if not _complete(folder, files):
                _download(folder, files, folder / f".{name}.download", download)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(
            f"{name}: no data in {folder} and no download ({reason}); put {', '.join(files)} there, say where they are by "
            "data_dir, or choose dataset=digits, which needs no files"
        ) from error


def _complete(folder: Path, files: Sequence[str]) -> bool:
    return all((folder / file).is_file() for file in files)


def _download(folder: Path, files: Sequence[str], scratch: Path, download: Callable[[Path], Path]) -> None:
    # left by a killed process; nobody uses it, because this process holds the lock
    shutil.rmtree(scratch, ignore_errors=True)
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
    """Make new connections fail after `seconds` of silence while the block runs.

    torchvision sets no time limit, so that a firewall that drops packets would hang the run.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def any_answers(urls: Sequence[str], seconds: float | None = None) -> bool:
    """Return whether one of the servers answers within `seconds` (None: `PROBE_SECONDS`)."""
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
    """Return whether the server of this address answers at all."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()
    # a refusal is an answer too
    except urllib.error.HTTPError as error:
        error.close()
    except Exception:
        return False
    return True
