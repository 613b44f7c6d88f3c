"""The file train.log of a run."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path


class _LogFile(logging.FileHandler):
    """A log file that loses messages on a full disk without a trace in the terminal; the run itself says what is wrong."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def log_to(path: Path) -> logging.Handler:
    """Write messages of this project and of Lightning, and warnings, to train.log.

    Of Lightning's messages the terminal shows only warnings.
    """
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # Lightning advertises other products as tips
    handler.addFilter(lambda record: "Tip:" not in record.getMessage())
    logging.captureWarnings(True)
    logging.getLogger().addHandler(handler)
    lightning = logging.getLogger("pytorch_lightning")
    lightning.propagate = True
    for terminal in lightning.handlers:
        terminal.setLevel(logging.WARNING)
    logging.getLogger("lightdiff").setLevel(logging.INFO)
    return handler
