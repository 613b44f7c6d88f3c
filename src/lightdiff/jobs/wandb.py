"""The logger of Weights & Biases of a run (extra `wandb`); a resumed run goes on in the same run there."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightdiff.jobs.ledger import Ledger, Remembering


class Wandb(Remembering, WandbLogger):
    """Log into the run's folder, and to the server unless `offline`.

    Args:
        folder: the run's folder.
        project: the project the run goes to.
        offline: log to the folder only, for a later `wandb sync`.
        former_id: id of a run that was begun by a version that kept none.
    """

    def __init__(self, folder: Path, project: str, offline: bool, former_id: str | None) -> None:
        self.ledger = Ledger(folder, "wandb")
        name = f"{folder.parent.name}-{folder.name}"
        # not the name: another folder may hold a run of the same name, and its curves would go on with this one's
        run_id = self.ledger.id or former_id or secrets.token_hex(4)
        quiet: Any = {"settings": {"silent": True, "console": "off"}} if offline else {}
        super().__init__(name, folder, offline=offline, project=project, id=run_id, resume="allow", **quiet)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        begins = self._experiment is None
        run = WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]
        if begins and self.ledger.id is None:
            self.ledger.keep_id(run.id)
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        new = self.unseen(metrics, step or 0)
        if new:
            super().log_metrics({name: metrics[name] for name in new}, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run there, so that the next one of this process is another."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None


def wandb(folder: Path, purge_step: int | None, project: str = "lightdiff", offline: bool = False) -> Logger:
    """Return the logger of Weights & Biases (extra `wandb`).

    Args:
        folder: the run's folder, whose name is the run's.
        purge_step: above 0 for a resumed run. Before version 0.3 the run's id was its name.
        project: the project the run goes to.
        offline: log to the folder only, for a later `wandb sync`.
    """
    former = (folder / "wandb").is_dir() and not (folder / "loggers").is_dir() and purge_step
    return Wandb(folder, project, offline, f"{folder.parent.name}-{folder.name}" if former else None)
