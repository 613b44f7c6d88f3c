"""The command `lightdiff`: `lightdiff train ...` is `python train.py ...`, and so for each other command."""

from __future__ import annotations

import sys

from lightdiff import __version__
from lightdiff.utils.program import COMMANDS

USAGE = f"""usage: lightdiff COMMAND [key=value ...]

commands: {", ".join(COMMANDS)}
lightdiff COMMAND --help   its keys and choices
lightdiff --version        the version
"""


def main() -> int:
    """Run the command that the first argument names; returns its exit code."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command == "--version":
        print(f"lightdiff {__version__}")
        return 0
    if command in ("--help", "-h"):
        print(USAGE, end="")
        return 0
    if command not in COMMANDS:
        print(f"error: {command}: no such command; choices: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    if command == "report":
        # this one needs no Hydra
        from lightdiff.commands.report import report_command

        return report_command(arguments)
    from lightdiff.commands.cli import run_command

    return run_command(command, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
