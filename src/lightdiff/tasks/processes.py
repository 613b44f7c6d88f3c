"""Processes of one run end together."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from lightdiff.tasks.peers import starter

STARTER = "LIGHTDIFF_STARTER"
"""Variable of the environment: the process whose trainer started this one."""


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the system send this process a signal when its parent dies. Linux."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def end_with_first_rank() -> None:
    """Let no rank outlive the first one, which would wait for it in vain; ranks that torchrun or SLURM started are theirs."""
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        os.environ[STARTER] = str(os.getpid())
    elif STARTER in os.environ and starter() is None:
        end_with_parent(signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM):  # until training begins it is the first rank that ends all
            signal.signal(number, signal.SIG_IGN)
        if os.getppid() != int(os.environ[STARTER]):  # it died before the line above
            raise SystemExit(1)
