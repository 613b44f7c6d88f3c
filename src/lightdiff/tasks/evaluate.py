"""Measure a trained model: one line of JSON for each evaluation, a table and a figure over all of a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from omegaconf import DictConfig

from lightdiff.data import DiffSet
from lightdiff.lightning import DiffusionModel, read_checkpoint
from lightdiff.metrics import Evaluation, FeatureExtractor, Metric, Results, lines, measure
from lightdiff.tasks.build import build_data
from lightdiff.tasks.configuration import plain
from lightdiff.tasks.described import data_of
from lightdiff.tasks.settings import check_eval_settings, check_fit
from lightdiff.tasks.trained import load_trained, run_of
from lightdiff.utils.config import ConfigError, instantiate, naming
from lightdiff.utils.files import shown
from lightdiff.utils.progress import progress
from lightdiff.utils.ranks import from_first, process


def evaluate(cfg: DictConfig) -> None:
    """Measure what has not been measured yet under these settings.

    Raises:
        ConfigError: a setting that does not exist, or does not fit the model or the data.
        DataError: the real images are missing.
    """
    config = plain(cfg)
    check_eval_settings(config)
    with _processes():
        checkpoint, model, generation = load_trained(config)
        data = _data(config, checkpoint, model)
        check_fit(model, data)
        evaluation = _evaluation(config, data, model)
        out = Path(config["out"]) if config["out"] else run_of(checkpoint) / "evaluation"
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"out={out}: no folder can be made there ({error.strerror})") from error
        results = Results(out)
        first = process()[0] == 0
        # all processes ask for the warnings, because they read the reference together
        with progress("reading the features of the real images", shown=config["progress"] and first):
            warnings = evaluation.warnings()
        for line in warnings:
            if first:
                print(f"warning: {line}", flush=True)
        facts = _facts(checkpoint)
        record, new = measure(evaluation, model, generation, facts, results, progress=config["progress"])
        if first:
            print("\n".join(lines(record)) + ("" if new else "\n(measured before)"))
            print(f"all results: {shown((out / 'table.md').absolute())}", flush=True)


def _evaluation(config: dict[str, Any], data: DiffSet, model: DiffusionModel) -> Evaluation:
    metrics: dict[str, Metric] = instantiate(config.get("metrics") or {}, key="metrics")
    if not metrics:
        raise ConfigError("metrics=[]: at least one is needed, as in 'metrics=[fid,kid]'")
    extractor: FeatureExtractor = instantiate(config["extractor"], key="extractor")
    with naming("extractor", config["extractor"]):
        extractor.prepare(data, model.device)
    with naming("", config):
        evaluation = Evaluation(
            metrics,
            extractor,
            data,
            num_samples=config["num_samples"],
            split=config["split"],
            cache_dir=Path(config["cache_dir"]).expanduser(),
            batch_size=config["batch_size"],
        )
        evaluation.check(conditional=model.conditioning is not None)
    return evaluation


def _data(config: dict[str, Any], checkpoint: Path, model: DiffusionModel) -> DiffSet:
    """The data set of group dataset, else the model's."""
    described = config.get("dataset")
    if described is None:
        data = data_of(checkpoint, model, config["data_dir"])
    else:
        place = {} if config["data_dir"] is None else {"data_dir": config["data_dir"]}
        data = build_data({"dataset": {**described, **place}})
    with naming("dataset", described or model.dataset or {}):
        if process()[0] == 0:
            data.prepare_data()
        from_first(None)  # the others wait for the download
        data.setup()
    return data


def _facts(checkpoint: Path) -> dict[str, Any]:
    """Which weights: the file, its content, and how far its training was."""
    content = (
        {} if checkpoint.suffix == ".safetensors" else read_checkpoint(checkpoint)
    )  # an exported model has no step
    return {
        "file": shown(checkpoint),
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "step": content.get("global_step"),
        "epoch": content.get("epoch"),
    }


@contextmanager
def _processes() -> Iterator[None]:
    """Under torchrun: join the other processes, and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
