"""Runs as plain data: what lies in a run folder, read without torch.

Whatever is missing or broken counts as not there, and so does a link to a file outside of the run's folder.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from lightdiff.commands.report.curves import LOSSES, Curve, Logged, read_logged
from lightdiff.commands.report.distances import Distance, best_distances
from lightdiff.commands.report.drawn import Drawn
from lightdiff.commands.report.pictures import newest_picture
from lightdiff.commands.report.settings import Settings, group_choices
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.run_config import CONFIG, read_config
from lightdiff.jobs.run_folder import in_training
from lightdiff.jobs.run_result import RESULT, read_result
from lightdiff.utils.files import lies_in
from lightdiff.utils.nested import flatten
from lightdiff.utils.text import natural_order, shorten


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Args:
        folder: the folder.
        name: by which a reader tells it from the others, such as "mnist/version_3".
        status: "done", "training" (a process trains in the folder now), "not ended", or "broken config"
            (config.yaml cannot be read).
        progress: how far it is, such as "epoch 60" or "step 1200"; empty where that is not known.
        minutes: for how long it was worked on, or None where its files hold no times.
        losses: the last ones, {"training": 0.02, "validation": 0.021}, as far as there are any.
        curves: its losses and distances over steps and minutes, {"validation loss": [(step, minutes, value), ...]}.
        distances: the best of each metric that its evaluations have found.
        settings: its configuration, {"optimizer.lr": 0.001, ...}; empty where config.yaml cannot be read.
        choices: the choice of each group in short, {"schedule": "cosine", ...}.
        picture: the newest grid of samples, or None.
        animation: the GIF of the same samples, or None.
        drawn: samples that were drawn for the report; None where none were asked for.
    """

    folder: Path
    name: str
    status: str
    progress: str
    minutes: float | None
    losses: dict[str, float]
    curves: dict[str, Curve]
    distances: tuple[Distance, ...]
    settings: Settings
    choices: dict[str, str]
    picture: Path | None
    animation: Path | None
    drawn: Drawn | None = None

    @property
    def state(self) -> str:
        """Status and progress in one, such as "done, epoch 60"."""
        return ", ".join(filter(None, (self.status, self.progress)))


def find_runs(folder: Path) -> list[Path]:
    """Return the folder itself if it is a run, else all runs (version_N with a config.yaml) below it, version 10 after 9.

    Raises:
        ValueError: there is no such folder, or it holds no runs.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{shorten(folder, 200)}: no such folder{_similar(folder)}; a folder with runs is expected, or a run"
        )
    if (folder / CONFIG).is_file():
        return [folder]
    runs = {path.parent for path in folder.glob(f"**/version_*/{CONFIG}") if path.is_file()}
    if not runs:
        raise ValueError(f"{shorten(folder, 200)}: no runs (version_N/{CONFIG}) in this folder")
    return sorted(runs, key=lambda path: natural_order(str(path)))


def _similar(folder: Path) -> str:
    """Return a question with the folder that may have been meant, or nothing."""
    names = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    close = difflib.get_close_matches(folder.name, names, n=1)
    return f" (did you mean {folder.with_name(close[0])}?)" if close else ""


def read_run(folder: Path, name: str) -> Run:
    """Read what is known of the run in this folder. `name` is what the report calls it."""
    logged = read_logged(folder)
    status, progress, values = _progress(folder, logged)
    settings = _settings(folder)
    picture = newest_picture(folder)
    animation = picture.with_suffix(".gif") if picture else None
    return Run(
        folder,
        name,
        "broken config" if settings is None else status,
        progress,
        logged.minutes,
        {loss: values[curve] for loss, curve in reversed(LOSSES) if curve in values},
        logged.curves,
        best_distances(folder),
        settings or {},
        group_choices(settings or {}),
        picture,
        animation if animation and animation.is_file() and lies_in(animation, folder) else None,
    )


def _settings(folder: Path) -> Settings | None:
    """Return the settings of a run's config.yaml; None where it cannot be read."""
    try:
        return flatten(read_config(folder)) if lies_in(folder / CONFIG, folder) else None
    except ConfigError:
        return None


def _progress(folder: Path, logged: Logged) -> tuple[str, str, dict[str, float]]:
    """Return status and progress of a run, and the last value of each of its curves."""
    training = in_training(folder)
    done = None if training else _read_result(folder)
    if done:
        return "done", f"epoch {done[0]}", done[1]
    return "training" if training else "not ended", "" if logged.step is None else f"step {logged.step}", logged.last


def _read_result(folder: Path) -> tuple[int, dict[str, float]] | None:
    """Return epochs and metrics of result.json, which a run writes when it is done; None where it is missing or no result."""
    path = folder / RESULT
    result = read_result(folder) if path.is_file() and lies_in(path, folder) else None
    return (result["epochs"], result["metrics"]) if result else None
