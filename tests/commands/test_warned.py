"""What a command writes to standard error: lines that say by their first word what they are."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

WARNING = """
import logging, sys, warnings
from lightdiff.commands import sample
from lightdiff.commands.cli import run_command

def noisy(cfg):
    warnings.warn("of a library\\nfor its programmers")
    logging.getLogger("lightdiff.data").warning("left out: %s", "a\\nb\\x1b[2J.png")
    logging.getLogger("other").error("no fonts")
    raise sample.ConfigError("save=x: wrong")

sample.sample = noisy
sys.argv = ["sample.py", "ckpt_path=x"]
raise SystemExit(run_command("sample", sys.argv[1:]))
"""


def test_each_line_says_what_it_is(run_module: Callable[..., CompletedProcess[str]]) -> None:
    done = run_module("-c", WARNING)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["warning: left out: a b?[2J.png", "warning: no fonts", "error: save=x: wrong"]
