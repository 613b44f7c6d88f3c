"""The Trackio logger of a run (extra `trackio`), which writes into a folder beside the runs, without an account or a server."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightdiff.jobs.ledger import Ledger, Remembering


class TrackioLogger(Remembering, Logger):
    """Log to Trackio, for which Lightning has no logger.

    Trackio writes into the folder of the environment variable TRACKIO_DIR, which it reads once in a process.

    Args:
        folder: the run's folder. Where TRACKIO_DIR is not set, Trackio writes into `trackio` in the folder of all runs.
        project: Trackio's name for a group of runs.
    """

    def __init__(self, folder: Path, project: str) -> None:
        super().__init__()
        self.ledger = Ledger(folder, "trackio")
        self._project, self._run_name = project, f"{folder.parent.name}-{folder.name}"
        self._home = folder.parent.parent / "trackio"
        self._settings: dict[str, Any] = {}
        self._run: Any = None

    @property
    def name(self) -> str:
        return self._project

    @property
    def version(self) -> str:
        return self._run_name

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Trackio's run, which has begun."""
        if self._run is None:
            os.environ["TRACKIO_DIR"] = os.environ.get("TRACKIO_DIR") or str(self._home)
            import trackio

            # it greets its user with eight lines about a dashboard
            with contextlib.redirect_stdout(io.StringIO()):
                self._run = trackio.init(
                    self._project,
                    name=self._run_name,
                    resume="never" if self.ledger.id is None else "allow",
                    config=self._settings,
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
            if self.ledger.id is None:
                self.ledger.keep_id(self._run.id)
        return self._run

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        new = self.unseen(metrics, step or 0)
        if new:
            self.experiment.log({name: float(metrics[name]) for name in new}, step=step)

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log the parameters. Trackio takes them at the start only, so that a run which has begun goes on as a resumed one."""
        self.finalize("success")
        self._settings = dict(params)
        self.experiment  # noqa: B018, which begins the run

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until Trackio has written everything."""
        if self._run is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self._run.finish()
            self._run = None


def trackio(folder: Path, purge_step: int | None, project: str = "lightdiff") -> Logger:
    """Return the logger of Trackio (extra `trackio`).

    Args:
        folder: the run's folder.
        purge_step: not used; see `Remembering`.
        project: Trackio's name for a group of runs.
    """
    return TrackioLogger(folder, project)
