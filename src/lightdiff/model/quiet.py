"""Silence the remarks that Lightning makes when training begins and ends."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Let Lightning report warnings and errors only, for a notebook or a script that trains with a `Trainer` of its own.

    What is silenced: the list of devices that are not there, the advertisements ("Tip: ..."), the line that training has
    ended, a warning about Lightning's own use of torch, about which nobody but Lightning can do anything, and one that comes
    wherever SLURM is installed, also for a script that is started without it.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message="The `srun` command is available")
