"""Warnings on the terminal: one line each that begins with "warning: ", as an error is one that begins with "error: "."""

from __future__ import annotations

import logging

from lightdiff.utils.text import printable


def show_warnings_in_one_line() -> None:
    """From now on what is logged where no log file is open, such as train.log, is shown in one line on standard error.

    Python's own warnings, which other libraries give their programmers, are only written into a log file.
    """
    logging.captureWarnings(True)
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_OneLine("%(message)s"))


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # a message may quote names out of a file
        return printable(" ".join(f"warning: {super().format(record)}".split()))
