"""How the user started lightdiff, so that messages repeat commands in the form that works for them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lightdiff.utils.quoting import path_text, setting, word

COMMANDS = ("train", "sample", "edit", "restore", "eval", "export", "play", "report")


def typed(command: str) -> str:
    """Return how this user types a command: "python train.py" in a clone, "lightdiff train" with the package installed.

    Where the environment is not activated, the program gets its path: ".venv/bin/python train.py".

    Args:
        command: one of `COMMANDS`.
    """
    return f"{_program('python')} {command}.py" if _is_script() else f"{_program('lightdiff')} {command}"


def way_on(run: Path) -> str:
    """Return the part of a message with the command that goes on with a run, or that begins it again if it has no checkpoint.

    Args:
        run: the run's folder.
    """
    if (run / "checkpoints" / "last.ckpt").is_file():
        return f"go on with: {typed('train')} {setting('resume', run)}"
    return f"nothing was saved in it; begin again with: {typed('train')} --job {word(path_text(run))}"


def restart(command: str) -> list[str]:
    """Return the words that start a command in a new process, in the form in which this process was started.

    Args:
        command: one of `COMMANDS`.
    """
    if _is_script():
        return [sys.executable, str(Path(sys.argv[0]).resolve())]
    return [sys.executable, "-m", "lightdiff", command]


def _program(name: str) -> str:
    """Return the name of a program of this environment, or its path where the shell would find another one or none."""
    here = Path(sys.executable).parent
    found = shutil.which(name)
    if found is not None and Path(found).absolute().parent == here:
        return name
    return word(path_text(here / name)) if (here / name).exists() else name


def _is_script() -> bool:
    return Path(sys.argv[0]).name in {f"{name}.py" for name in COMMANDS}
