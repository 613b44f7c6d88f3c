"""How the user started lightdiff, so that messages repeat commands in the form that works for them."""

from __future__ import annotations

import sys
from pathlib import Path

COMMANDS = ("train", "sample", "eval", "export", "report")


def typed(command: str) -> str:
    """Return how this user types a command: "python train.py" in a clone, "lightdiff train" with the package installed.

    Args:
        command: one of `COMMANDS`.
    """
    scripts = {f"{name}.py" for name in COMMANDS}
    return f"python {command}.py" if Path(sys.argv[0]).name in scripts else f"lightdiff {command}"
