"""Measure a trained model. Each evaluation is a line of JSON; a table and a figure show all of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from omegaconf import DictConfig

from lightdiff.commands.trained import load_for_sampling, load_trained
from lightdiff.config.build import build_data
from lightdiff.config.classes import keep_former_order
from lightdiff.config.command_settings import SamplingSettings, check_command
from lightdiff.config.instantiate import ConfigError, instantiate, naming
from lightdiff.config.naming_folder import naming_folder
from lightdiff.config.plain import plain
from lightdiff.config.reading import fitting, reading
from lightdiff.config.settings import check_fit
from lightdiff.config.trust import Trust
from lightdiff.data import DiffSet
from lightdiff.jobs.described import data_of
from lightdiff.jobs.process_group import join_process_group
from lightdiff.jobs.summary import data_summary
from lightdiff.metrics import Evaluation, FeatureExtractor, Metric, Results, lines, measure
from lightdiff.model import DiffusionModel, Generation
from lightdiff.utils.files import shown, user_path
from lightdiff.utils.progress import progress
from lightdiff.utils.ranks import rank_and_world_size
from lightdiff.utils.weight_files import folder_of


@dataclass(frozen=True)
class EvalSettings(SamplingSettings):
    """The keys of eval.yaml beside the groups."""

    needed: ClassVar[tuple[str, ...]] = ("sampler", "extractor")
    optional: ClassVar[tuple[str, ...]] = ("guidance", "metrics", "dataset")

    num_samples: int
    split: Literal["train", "val", "test"]
    data_dir: str | None
    cache_dir: str


def evaluate(cfg: DictConfig) -> None:
    """Draw samples and compute the metrics that have not been computed yet under these settings.

    Raises:
        ConfigError: a setting that does not exist, or does not fit the model or the data, or real images that cannot be read.
        DownloadError: the real images are missing.
    """
    config = plain(cfg)
    check_command(config, EvalSettings)
    join_process_group()
    checkpoint, model, generation, identity = load_trained(config)
    data = _data(config, checkpoint, model)
    check_fit(model, data)
    trained_on = identity.pop("data")
    first = rank_and_world_size()[0] == 0
    if first:
        print(data_summary(data), flush=True)
    # of a data set that the user names nobody expects that the model was trained on it
    if config.get("dataset") is None:
        _warn_of_changes(data, trained_on)
    evaluation = _evaluation(config, data, model, generation)
    generation = evaluation.conditioned(model, generation)
    out = user_path(config["out"]) if config["out"] else folder_of(checkpoint) / "evaluation"
    with naming_folder("out", out):
        out.mkdir(parents=True, exist_ok=True)
    results = Results(out)
    # all processes ask for the warnings, because they read the reference together
    reading_them = progress("reading the features of the real images", shown=config["progress"] and first)
    with reading_them, fitting(config.get("dataset") or model.dataset or {}):
        warnings = evaluation.warnings()
    for line in warnings:
        if first:
            print(f"warning: {line}", flush=True)
    facts = {"file": shown(checkpoint), **identity}
    record, new = measure(evaluation, model, generation, facts, results, progress=config["progress"])
    if first and not new:
        # a full disk may have left a table without this result
        results.write_summaries()
    if first:
        print("\n".join(lines(record)) + ("" if new else "\n(measured before)"))
        print(f"all results: {shown((out / 'table.md').absolute())}", flush=True)


def check(cfg: DictConfig) -> None:
    """Raise the errors in the configuration that `evaluate` would raise before it draws; nothing is measured."""
    config = plain(cfg)
    check_command(config, EvalSettings)
    checkpoint, model, generation, _ = load_for_sampling(config, torch.device("cpu"))
    data = _data(config, checkpoint, model)
    check_fit(model, data)
    _evaluation(config, data, model, generation)


def _warn_of_changes(data: DiffSet, trained_on: Any) -> None:
    """Say in a line if the data are not those of the checkpoint, which states them in `trained_on`."""
    changed = data.differs_from(trained_on)
    if changed and rank_and_world_size()[0] == 0:
        print(f"warning: the data are not those that the model was trained on: {changed}", flush=True)


def _evaluation(config: dict[str, Any], data: DiffSet, model: DiffusionModel, generation: Generation) -> Evaluation:
    metrics: dict[str, Metric] = instantiate(config.get("metrics") or {}, key="metrics")
    if not metrics:
        raise ConfigError("metrics=[]: at least one is needed, as in 'metrics=[fid,kid]'")
    extractor: FeatureExtractor = instantiate(config["extractor"], key="extractor")
    with naming("", config):
        evaluation = Evaluation(
            metrics,
            extractor,
            data,
            num_samples=config["num_samples"],
            split=config["split"],
            cache_dir=user_path(config["cache_dir"]),
            batch_size=config["batch_size"],
        )
    with naming("extractor", config["extractor"]):
        extractor.prepare(data, model.device)
    with naming("", config):
        # a classifier can give a model without a condition classes to show
        evaluation.check(conditional=model.conditioning is not None or generation.labels is not None)
    return evaluation


def _data(config: dict[str, Any], checkpoint: Path, model: DiffusionModel) -> DiffSet:
    """Build and read the data set of group dataset, or the one that the model was trained on where the group is empty."""
    described = config.get("dataset")
    if described is None:
        data = data_of(checkpoint, model, config["data_dir"], Trust.of(config["trust"]))
    else:
        typed = {} if config["data_dir"] is None else {"data_dir": config["data_dir"]}
        data = build_data({"dataset": {**described, **typed}})
    with reading(described or model.dataset or {}):
        data.prepare_data()
        if described is None:
            keep_former_order(data)
        data.setup()
    return data
