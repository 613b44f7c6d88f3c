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
    return f"python {command}.py" if _is_script() else f"lightdiff {command}"


def restart(command: str) -> list[str]:
    """Return the words that start a command in a new process, in the form in which this process was started.

    Args:
        command: one of `COMMANDS`.
    """
    if _is_script():
        return [sys.executable, str(Path(sys.argv[0]).resolve())]
    return [sys.executable, "-m", "lightdiff", command]


def _is_script() -> bool:
    return Path(sys.argv[0]).name in {f"{name}.py" for name in COMMANDS}
