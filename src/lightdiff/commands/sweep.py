"""Collect the failed jobs of a command: a failed job of a sweep does not stop the others, and all are reported at the end.

Jobs of a sweep may run in other processes or on other machines (hydra/launcher), so they write their failures into a file in
the sweep's folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lightdiff.utils.files import append_line

_sweep_folders: list[Path] = []
_single_failures: list[tuple[str, int]] = []


class RememberSweep(Callback):
    """Hydra callback that remembers, in the process that starts a sweep, the folder into which its jobs write failures.

    It also has the launcher joblib run each job in a process of its own.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _sweep_folders.append(Path(config.hydra.sweep.dir).absolute())
        if str(config.hydra.launcher.get("_target_")).endswith(".JoblibLauncher"):
            from lightdiff.commands.workers import own_processes

            own_processes()


def keep_failure(line: str, code: int, typed: set[str]) -> None:
    """Record a failed job for `failures`, which the process that started the command calls at the end.

    Args:
        line: what went wrong.
        code: the job's exit code.
        typed: arguments of the command line in lower case; a job of a sweep is named by the overrides that are not among them.
    """
    now = HydraConfig.get()
    if now.mode != RunMode.MULTIRUN:
        _single_failures.append((line, code))
        return
    # unresolved, to show ${...} as the user has typed it
    overrides: Any = OmegaConf.to_container(now.overrides.task, resolve=False)
    _write(Path(now.sweep.dir), [str(override) for override in overrides], line, code, typed)


def keep_lost_job(folder: Path, overrides: Sequence[str], line: str) -> None:
    """Record a job whose process was killed, for which the process that started it calls this.

    Args:
        folder: the sweep's folder.
        overrides: the overrides of the job.
        line: what happened.
    """
    _write(folder, overrides, line, 1, {argument.casefold() for argument in sys.argv[1:]})


def _write(folder: Path, overrides: Sequence[str], line: str, code: int, typed: set[str]) -> None:
    # in lower case, because Hydra writes False where the user has typed false
    special = [override for override in overrides if override.casefold() not in typed]
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"line": f"job {' '.join(special)}: {line}" if special else line, "code": code}
    append_line(folder / "failed.jsonl", json.dumps(entry))


def refuse(lines: Iterable[str]) -> None:
    """Record what is wrong with a sweep of which no job is started, for `failures`."""
    _single_failures.extend((line, 2) for line in lines)


def failures() -> list[tuple[str, int]]:
    """Return line and exit code of each failed job of the command that has just ended, and forget them."""
    entries = []
    while _sweep_folders:
        path = _sweep_folders.pop() / "failed.jsonl"
        if path.is_file():
            entries += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    single = _single_failures.copy()
    _single_failures.clear()
    return single + [(entry["line"], entry["code"]) for entry in entries]
