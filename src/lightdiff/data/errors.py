"""The error that all code for image files raises."""

from __future__ import annotations

from lightdiff.utils.text import escaped


class DataError(RuntimeError):
    """Error about image files that are missing, unreadable or refused. The message is one line and names the path, escaped."""

    def __init__(self, message: str) -> None:
        # a loader's worker process passes an error on as the text of its whole traceback: keep the line that matters
        super().__init__(escaped(message.rpartition("DataError: ")[2].strip()))


class DownloadError(DataError):
    """Error about image files that are not there and could not be downloaded."""
