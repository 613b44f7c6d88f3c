"""train.py, sample.py and export.py without the seconds that a fresh process takes to import torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lightdiff.tasks.cli import export_command, sample_command, train_command
from runs import ROOT

COMMANDS = {"train.py": train_command, "sample.py": sample_command, "export.py": export_command}


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., CompletedProcess[str]]:
    """Runs a script in this process, in an empty working directory (or `folder`); not for several devices."""

    def run(script: str, *arguments: str, folder: Path = tmp_path) -> CompletedProcess[str]:
        monkeypatch.chdir(folder)
        argv = [str(ROOT / script), *arguments]
        monkeypatch.setattr(sys, "argv", [*argv])
        capfd.readouterr()
        code = COMMANDS[script](argv[0])
        output = capfd.readouterr()
        return CompletedProcess(argv, code, output.out, output.err)

    return run
