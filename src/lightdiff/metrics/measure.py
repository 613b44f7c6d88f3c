"""Measure a model and record the figures together with everything that makes them comparable."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from dataclasses import asdict
from typing import Any

from lightdiff.config.describe import config_of
from lightdiff.metrics.evaluation import Evaluation
from lightdiff.metrics.results import Record, Results
from lightdiff.model import DiffusionModel, Generation
from lightdiff.samplers import name_of
from lightdiff.utils.collectives import from_first
from lightdiff.utils.ranks import rank_and_world_size

EVERY_CLASS = "every class in turn"
VALIDATION_IMAGES = "conditions of the validation images in turn"
REFERENCE_IMAGES = "conditions of the reference images"
PACKAGES = ("lightdiff", "torch", "torchvision", "torchmetrics")


def measure(
    evaluation: Evaluation,
    model: DiffusionModel,
    generation: Generation,
    checkpoint: dict[str, Any],
    results: Results,
    *,
    progress: bool = False,
) -> tuple[Record, list[str]]:
    """Compute the metrics that `results` lacks and add them to it. All processes call this together.

    Args:
        evaluation: the metrics and the data to measure against.
        model: the model.
        generation: how its images are drawn.
        checkpoint: the entries file, sha256, step and epoch, which identify the model's weights.
        results: the figures that have been computed before.
        progress: show a progress bar.

    Returns:
        The record of all figures under this protocol, and the names of the metrics that were computed now.
    """
    by_class = model.conditioning is None or model.conditioning.by_class
    protocol = {"checkpoint": checkpoint, **_sampling_protocol(generation, by_class), **evaluation.protocol()}
    settings = {name: asdict(metric) for name, metric in evaluation.metrics.items()}  # type: ignore[call-overload]
    missing: list[str] = from_first(results.missing(protocol, settings))
    if missing:
        outcome = evaluation(model, generation, names=missing, progress=progress and rank_and_world_size()[0] == 0)
        if rank_and_world_size()[0] == 0:
            results.add(
                {
                    "values": {name: value._asdict() for name, value in outcome.values.items()},
                    "metrics": {name: settings[name] for name in missing},
                    **protocol,
                    "images_per_second": round(outcome.images_per_second, 2),
                    "seconds": {name: round(seconds, 3) for name, seconds in outcome.seconds.items()},
                    "device": str(model.device),
                    "processes": rank_and_world_size()[1],
                    "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                    "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
                    "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
            )
    return from_first(results.cell(protocol) if rank_and_world_size()[0] == 0 else None), missing


def _sampling_protocol(generation: Generation, by_class: bool) -> dict[str, Any]:
    """Return all settings of sampling that two figures must have in common to be comparable."""
    settings = config_of(generation.sampler)
    return {
        "weights": generation.weights,
        "sampler": {"name": name_of(generation.sampler), **{k: v for k, v in settings.items() if k != "_target_"}},
        "num_steps": generation.num_steps,
        "guidance_scale": generation.guidance.scale,
        "guidance": generation.guidance.details,
        "labels": _asked(generation, by_class),
        # left out where it is not set, so that earlier results stay comparable
        **({} if generation.condition_noise is None else {"condition_noise": generation.condition_noise}),
        "seed": generation.seed,
        "precision": generation.precision,
    }


def _asked(generation: Generation, by_class: bool) -> str | None:
    """Return which classes or conditions the images are drawn for, in words; None for none."""
    if generation.condition is not None:
        return VALIDATION_IMAGES
    if generation.choice is None and generation.labels is None:
        return None
    return EVERY_CLASS if by_class else REFERENCE_IMAGES
