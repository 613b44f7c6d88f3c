"""Commands run in this process that must refuse, or else only begin: training ends at its first batch, nothing is started."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest import mock

from lightdiff.commands import launch
from lightdiff.commands.cli import run_command
from lightdiff.model import DiffusionModel
from runs import ROOT

CHATTER = ("GPU available", "TPU available", "HPU available", "💡")


class Begun(SystemExit):
    """The first batch of a training; ends the command as done."""


def begin(*args: Any, **kwargs: Any) -> None:
    raise Begun(0)


def job_here(executable: str, command: list[str], environment: dict[str, str]) -> None:
    """In place of the processes that several devices need: the same job in this one, up to the start of the others."""
    with mock.patch.object(sys, "argv", command[1:]), mock.patch.dict(os.environ, environment, clear=True):
        raise SystemExit(run_command("train", command[2:]))


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Within, training ends at its first batch and no process is started."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(DiffusionModel, "training_step", begin))
        stack.enter_context(mock.patch.object(launch.os, "execve", job_here))
        for name in ("subprocess_script._SubprocessScriptLauncher", "multiprocessing._MultiProcessingLauncher"):
            stack.enter_context(mock.patch(f"pytorch_lightning.strategies.launchers.{name}.launch", begin))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def run(script: str, arguments: Sequence[str], folder: Path) -> CompletedProcess[str]:
    """The command in this process and in an empty working directory."""
    argv = [str(ROOT / script), *arguments]
    output, errors = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, before = list(root.handlers), Path.cwd()
    os.chdir(folder)
    try:
        with (
            harmless(),
            mock.patch.object(sys, "argv", [*argv]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            code = run_command(script.removesuffix(".py"), list(arguments))
    finally:
        os.chdir(before)
        root.handlers[:] = handlers
    return CompletedProcess(argv, code, output.getvalue(), errors.getvalue())


def message_lines(done: CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(CHATTER)]


def check_refused(done: CompletedProcess[str], *named: str) -> None:
    """Code 2 and one line that names one of these."""
    lines = message_lines(done)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert any(name in lines[0] for name in named), done.stderr


def check(script: str, base: Sequence[str], override: str, *named: str, may_be_right: bool = False) -> None:
    """Run it: refused without a trace of the run, or done."""
    with tempfile.TemporaryDirectory() as folder:
        done = run(script, [*base, override], Path(folder))
        if may_be_right and done.returncode == 0:
            assert "Traceback" not in done.stderr
            return
        check_refused(done, *named)
        assert [*Path(folder).glob("**/version_*")] == []
