"""Processes of one run end together.

Until training begins it is the first rank that hears Ctrl-C and SIGTERM and ends the others: one of them that died of the signal
while it still imports would be taken for a fault, and the run killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from lightdiff.tasks.handover import starter

STARTER = "LIGHTDIFF_STARTER"
"""Variable of the environment: the process whose trainer started this one."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the system send this process a signal when its parent dies. Linux."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def hold_signals() -> None:
    """Keep Ctrl-C and SIGTERM waiting, in this thread and in the processes that it starts, until `take_signals`."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def take_signals() -> None:
    """Let those that waited, and later ones, arrive."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_with_first_rank() -> None:
    """Let no rank outlive the first one, which would wait for it in vain; ranks that torchrun or SLURM started are theirs."""
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        os.environ[STARTER] = str(os.getpid())
    elif STARTER in os.environ and starter() is None:
        end_with_parent(signal.SIGKILL)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        take_signals()  # started while the first rank held them
        if os.getppid() != int(os.environ[STARTER]):  # it died before the line above
            raise SystemExit(1)
