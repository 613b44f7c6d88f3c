"""Measure a model and write down the figures with all that makes them comparable."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from dataclasses import asdict
from typing import Any

from lightdiff.lightning import DiffusionModel, Generation
from lightdiff.metrics.evaluation import Evaluation
from lightdiff.metrics.results import Record, Results
from lightdiff.samplers import name_of
from lightdiff.utils.config import config_of
from lightdiff.utils.ranks import from_first, process

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
    """Compute what `results` lacks, and add it. All processes call it together.

    Args:
        evaluation: what is measured, and against what.
        model: the model.
        generation: how its images are drawn.
        checkpoint: what tells its weights: file, sha256, step, epoch.
        results: what has been found before.
        progress: show a progress bar.

    Returns:
        The record with all figures under this protocol, and the names of the metrics that were computed now.
    """
    protocol = {"checkpoint": checkpoint, **_drawing(generation), **evaluation.protocol()}
    settings = {name: asdict(metric) for name, metric in evaluation.metrics.items()}  # type: ignore[call-overload]
    missing: list[str] = from_first(results.missing(protocol, settings))
    if missing:
        outcome = evaluation(model, generation, names=missing, progress=progress and process()[0] == 0)
        if process()[0] == 0:
            results.add(
                {
                    "values": {name: value._asdict() for name, value in outcome.values.items()},
                    "metrics": {name: settings[name] for name in missing},
                    **protocol,
                    "images_per_second": round(outcome.images_per_second, 2),
                    "seconds": {name: round(seconds, 3) for name, seconds in outcome.seconds.items()},
                    "device": str(model.device),
                    "processes": process()[1],
                    "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                    "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
                    "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
            )
    return from_first(results.cell(protocol) if process()[0] == 0 else None), missing


def _drawing(generation: Generation) -> dict[str, Any]:
    settings = config_of(generation.sampler)
    return {
        "weights": generation.weights,
        "sampler": {"name": name_of(generation.sampler), **{k: v for k, v in settings.items() if k != "_target_"}},
        "num_steps": generation.num_steps,
        "guidance_scale": generation.guidance_scale,
        "labels": None if generation.choice is None else "every class in turn",
        "seed": generation.seed,
        "precision": generation.precision,
    }
