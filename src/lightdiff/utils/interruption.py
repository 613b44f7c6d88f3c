"""Signals that ask a command to end. A run saves before it does."""

from __future__ import annotations

import signal

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
"""Ctrl-C, a request to end, a terminal that goes away, and a limit of computing time, as far as the system has them."""

EXIT_CODES = tuple(128 + number for number in SIGNALS)
"""Exit codes of a command that one of these signals has ended, as shells count them: 130, 143, 129, 152."""


def wanted(number: int) -> bool:
    """Return whether a signal is to be handled, and not ignored as `nohup` has asked for.

    Shells also ignore Ctrl-C for a command in the background, where a run still handles it.
    """
    return number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN
