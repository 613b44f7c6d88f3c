"""Sweeps that optimise: the best run is the one with the smallest distance."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
import yaml

from runs import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]
QUICK = (
    "experiment=digits_fast",
    "optimizer=adamw",
    "model.widths=[8,8]",
    "model.attention_levels=[]",
    "trainer=debug",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
    "sampler.num_steps=2",
    "callbacks.evaluation.num_samples=20",
    "callbacks.samples=null",
)


@pytest.mark.slow
def test_optuna_minimises_the_distance(run_script: Run, tmp_path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    done = run_script("train.py", "-m", "hparams_search=optuna_mnist", *QUICK, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    runs = sorted(tmp_path.glob("lightning_logs/digits/version_*"))
    distances = [json.loads((run / "result.json").read_text())["metrics"]["eval/fid"] for run in runs]
    assert len(set(distances)) == 3
    (summary,) = tmp_path.glob("lightning_logs/.sweeps/*/optimization_results.yaml")
    best = yaml.safe_load(summary.read_text())
    assert best["best_value"] == pytest.approx(min(distances))
    config = yaml.safe_load((runs[distances.index(min(distances))] / "config.yaml").read_text())
    assert config["optimizer"]["lr"] == pytest.approx(best["best_params"]["optimizer.lr"])


def test_a_search_names_the_metric_that_its_runs_lack(run_script: Run) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ("hparams_search=optuna_mnist", "optimized_metric=val/los", "hydra.sweeper.n_trials=1")
    done = run_script("train.py", "-m", *search, *QUICK)
    assert "optimized_metric=val/los: no such metric; did you mean val/loss?" in done.stderr


def test_a_grid_trains_every_combination(command: Run, tmp_path) -> None:
    done = command("train.py", "-m", "hparams_search=grid_mnist", *QUICK, "optimizer.lr=1e-3,2e-3", "ema_decay=0.9")
    assert done.returncode == 0, done.stderr
    runs = sorted(tmp_path.glob("lightning_logs/digits/version_*"))
    found = [yaml.safe_load((run / "config.yaml").read_text()) for run in runs]
    assert [(config["optimizer"]["lr"], config["ema_decay"]) for config in found] == [(1e-3, 0.9), (2e-3, 0.9)]
    assert all("eval/fid" in json.loads((run / "result.json").read_text())["metrics"] for run in runs)


def test_every_search_is_of_a_metric_that_its_runs_have() -> None:
    for path in (ROOT / "conf" / "hparams_search").glob("*.yaml"):
        search = yaml.safe_load(path.read_text())
        assert search["optimized_metric"] == "eval/fid" and {"override /callbacks": "evaluation"} in search["defaults"]
        if {"override /hydra/sweeper": "optuna"} in search["defaults"]:
            assert search["hydra"]["sweeper"]["direction"] == "minimize"
