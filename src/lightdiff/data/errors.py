"""The one error of files on disk."""

from __future__ import annotations


class DataError(RuntimeError):
    """Image files that are missing, unreadable or refused. The message is one line and names the path."""

    def __init__(self, message: str) -> None:
        # a loader's worker process hands an error on as the text of its whole traceback: keep the line that matters
        super().__init__(message.rpartition("DataError: ")[2].strip())
