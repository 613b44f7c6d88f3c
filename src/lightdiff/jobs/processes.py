"""Make all processes of a run end together.

Until training begins only the first rank reacts to Ctrl-C and SIGTERM, and it ends the others. If another rank died of the
signal while still importing, this would look like a failure and the whole run would be killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from lightdiff.utils.interruption import SIGNALS
from lightdiff.utils.ranks import FIRST_RANK, LIGHTNING, launcher, rank_and_world_size


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the system send this process the signal `number` when its parent dies; only Linux can do this."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def hold_signals() -> None:
    """Keep Ctrl-C and SIGTERM waiting until `take_signals`, in this thread and in the processes that it starts."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def take_signals() -> None:
    """Let Ctrl-C and SIGTERM arrive again, also those that waited since `hold_signals`."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_with_first_rank() -> None:
    """End this rank when the first rank dies, for which it would wait in vain.

    Every rank calls this; the first one leaves its process id for the others. torchrun and srun end the ranks that they start.
    """
    started_by = launcher()
    if started_by is None:
        os.environ[FIRST_RANK] = str(os.getpid())
    elif started_by is LIGHTNING and rank_and_world_size()[0] > 0:
        end_with_parent(signal.SIGKILL)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        # the first rank held the signals when it started this one
        take_signals()
        # the first rank may have died before `end_with_parent` could take effect
        if os.getppid() != int(os.environ[FIRST_RANK]):
            raise SystemExit(1)
