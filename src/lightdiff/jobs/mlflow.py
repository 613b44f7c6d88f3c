"""The MLflow logger of a run (extra `mlflow`); a resumed run goes on in the same run of MLflow."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightdiff.jobs.ledger import Ledger, Remembering

STATUS = {"success": "FINISHED", "finished": "FINISHED"}
"""How Lightning says that a run has ended well -> how MLflow says so; everything else is FAILED."""


class MLflowLogger(Remembering, Logger):
    """Log to MLflow through its client, from the first point on.

    Lightning's own logger makes the database when it is built, before it is known whether the run will be refused.

    Args:
        folder: the run's folder.
        experiment: MLflow's name for a group of runs.
        tracking_uri: address of a server or a database. None: the database `mlflow/mlflow.db` in the folder of all runs, with the
            pictures in `mlflow/artifacts`.
    """

    def __init__(self, folder: Path, experiment: str, tracking_uri: str | None) -> None:
        super().__init__()
        self.ledger = Ledger(folder, "mlflow")
        self._run_name, self._group, self._uri = f"{folder.parent.name}-{folder.name}", experiment, tracking_uri
        self._home = folder.parent.parent / "mlflow"
        self._client: Any = None

    @property
    def name(self) -> str:
        return self._group

    @property
    def version(self) -> str | None:
        return self.ledger.id

    @property
    def run_id(self) -> str:
        """The run's id in MLflow."""
        self.experiment  # noqa: B018, which begins the run
        assert self.ledger.id is not None
        return self.ledger.id

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client; the run has begun."""
        if self._client is None:
            import mlflow

            # the tables that it makes in a new database
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            if self._uri is None:
                self._home.mkdir(exist_ok=True)
            client = mlflow.MlflowClient(self._uri or f"sqlite:///{self._home / 'mlflow.db'}")
            if self.ledger.id is None:
                self.ledger.keep_id(client.create_run(self._group_id(client), run_name=self._run_name).info.run_id)
            else:
                client.update_run(self.ledger.id, status="RUNNING")
            self._client = client
        return self._client

    def _group_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self._group)
        if found is not None:
            return str(found.experiment_id)
        # MLflow would put the files into the working directory
        place = (self._home / "artifacts").as_uri() if self._uri is None else None
        return str(client.create_experiment(self._group, artifact_location=place))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        points = [Metric(name, float(metrics[name]), now, step or 0) for name in self.unseen(metrics, step or 0)]
        self.experiment.log_batch(self.run_id, metrics=points)

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log the parameters; those that a resumed run changes become tags, because MLflow changes no parameter."""
        there = self.experiment.get_run(self.run_id).data.params
        for name, value in params.items():
            if name not in there:
                self.experiment.log_param(self.run_id, name, value)
            elif there[name] != str(value):
                self.experiment.set_tag(self.run_id, name, value)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._client is not None:
            self._client.set_terminated(self.run_id, STATUS.get(status, "FAILED"))


def mlflow(
    folder: Path, purge_step: int | None, experiment: str = "lightdiff", tracking_uri: str | None = None
) -> Logger:
    """Return the logger of MLflow (extra `mlflow`).

    Args:
        folder: the run's folder.
        purge_step: not used; see `Remembering`.
        experiment: MLflow's name for a group of runs.
        tracking_uri: address of a server or a database; None: a database beside the runs.
    """
    return MLflowLogger(folder, experiment, tracking_uri)
