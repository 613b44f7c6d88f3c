"""The failed jobs of a command: one of a sweep does not stop the others, and all are told at the end.

Such a job may run in another process or on another machine (hydra/launcher), so the word is left in the sweep's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

_folders: list[Path] = []
_own: list[tuple[str, int]] = []


class RememberSweep(Callback):
    """Hydra callback: in the process that started the sweep, remembers where its jobs leave word."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _folders.append(Path(config.hydra.sweep.dir).absolute())


def keep_failure(line: str, code: int, typed: set[str]) -> None:
    """Keep word of a failed job; of one of a sweep for the process that started the sweep.

    Args:
        line: what went wrong.
        code: exit code.
        typed: arguments of the command line, which tell what is special about this job.
    """
    now = HydraConfig.get()
    if now.mode != RunMode.MULTIRUN:
        _own.append((line, code))
        return
    overrides: Any = OmegaConf.to_container(now.overrides.task, resolve=False)  # as typed, ${...} and all
    # Hydra writes False for false
    special = [str(override) for override in overrides if str(override).casefold() not in typed]
    folder = Path(now.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    word = {"line": f"job {' '.join(special)}: {line}" if special else line, "code": code}
    with (folder / "failed.jsonl").open("a") as file:
        file.write(json.dumps(word) + "\n")


def failures() -> list[tuple[str, int]]:
    """Line and exit code of each failed job of the command just ended."""
    words = []
    while _folders:
        path = _folders.pop() / "failed.jsonl"
        if path.is_file():
            words += [json.loads(line) for line in path.read_text().splitlines()]
    own = _own.copy()
    _own.clear()
    return own + [(word["line"], word["code"]) for word in words]
