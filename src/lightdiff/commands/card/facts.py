"""What is known of a trained model: from its own file, and from the run that it lies in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightdiff.commands.report.points import read_events
from lightdiff.commands.report.settings import as_typed, group_choices
from lightdiff.data import SOURCES, HuggingFace, Source
from lightdiff.jobs.described import config_of_run
from lightdiff.jobs.run_result import read_result
from lightdiff.model import DiffusionModel
from lightdiff.utils.files import is_on_hub
from lightdiff.utils.nested import flatten
from lightdiff.utils.records import Record, guidance_text, guided, newest_cells, read_records, value_text
from lightdiff.utils.text import listed
from lightdiff.utils.weight_files import folder_of

_OWN: tuple[type[Source], ...] = (*SOURCES.values(), HuggingFace)
KINDS = {f"lightdiff.data.{kind.__name__}": kind for kind in _OWN}
"""`_target_` of a source -> its class."""
SHOWN = {
    "trainer.precision": "precision",
    "dataset.batch_size": "batch size",
    "optimizer.lr": "learning rate",
    "ema_decay": "decay of the average of the weights",
    "seed": "seed",
}
"""Keys of a run's configuration that the card shows -> how it calls them."""
DEVICE = re.compile(r" device: +(.+)$", re.MULTILINE)
"""The line of a run's train.log that says what it was computed on."""


@dataclass(frozen=True)
class Figure:
    """A value that an evaluation has found for these very weights.

    Args:
        metric: its name, such as "fid".
        value: the value in four digits, with its spread where it has one.
        sampling: how the images were drawn.
        against: what they were compared with.
    """

    metric: str
    value: str
    sampling: str
    against: str


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    Args:
        data: of the images that it was trained on, in words, by names such as "data set" and "licence of the data".
        hub_data: name on the hub of the data set, or None.
        task: what the hub calls the task, or None where it has no name for it, as for images by class.
        model, training: settings of the model and of its training, in words.
        figures: what was measured of it.
    """

    data: dict[str, str]
    hub_data: str | None
    task: str | None
    model: dict[str, str]
    training: dict[str, str]
    figures: tuple[Figure, ...]


def read_facts(model: DiffusionModel, checkpoint: Path, identity: dict[str, Any], weights: str) -> Facts:
    """Gather what is known of a model.

    Args:
        model: as it was loaded.
        checkpoint: the file that it was loaded from.
        identity: which weights it has, as `load_identified` returns it.
        weights: which of the file's weights it has, "ema" or "raw".
    """
    run = folder_of(checkpoint)
    config = config_of_run(checkpoint)
    kind, source = _source(model.dataset or {})
    return Facts(
        _data(model, identity, kind, source),
        source.get("path")
        if kind is HuggingFace and "/" in str(source.get("path"))
        else kind.hub_name
        if kind
        else None,
        _task(model),
        _model(model, config),
        _training(run, config, identity),
        tuple(_figures(run / "evaluation" / "results.jsonl", identity, weights)),
    )


def _source(dataset: dict[str, Any]) -> tuple[type[Source] | None, dict[str, Any]]:
    """Return the class of a described data set's source, if it is lightdiff's own, and its settings."""
    source = dataset.get("source")
    if source is None:
        return SOURCES.get(str(dataset.get("name"))), {}
    return (KINDS.get(str(source.get("_target_"))), source) if isinstance(source, dict) else (None, {})


def _data(
    model: DiffusionModel, identity: dict[str, Any], kind: type[Source] | None, source: dict[str, Any]
) -> dict[str, str]:
    if model.dataset is None:
        return {"data set": "unknown", "licence of the data": "unknown"}
    name = str(model.dataset.get("name", "unknown"))
    rows = {"data set": f"{name} ({source['path']})" if "path" in source else name}
    count = _count(identity.get("data"))
    rows |= {} if count is None else {"training images": f"{count:,}"}
    if model.class_names:
        rows["classes"] = listed(model.class_names)
    if model.dataset.get("horizontal_flip"):
        rows["mirrored at random"] = "yes"
    return {**rows, "licence of the data": "unknown" if kind is None else kind.licence}


def _task(model: DiffusionModel) -> str | None:
    if model.conditioning is None:
        return "unconditional-image-generation"
    tasks = {"condition": "image-to-image", "prompt": "text-to-image"}
    return next((task for taken, task in tasks.items() if taken in model.conditioning.takes), None)


def _count(data: Any) -> int | None:
    """Return the number of training images that a checkpoint states; None where it does not."""
    train = data.get("train") if isinstance(data, dict) else None
    count = train.get("count") if isinstance(train, dict) else None
    return count if isinstance(count, int) else None


def _model(model: DiffusionModel, config: dict[str, Any]) -> dict[str, str]:
    described = model.describe()
    objective = {name: described[name] for name in ("objective", "prediction")}
    # a run's configuration says more: the name of the table of betas, for one
    choices = group_choices(flatten(config or {**described, "objective": objective}))
    channels, height, width = model.image_shape
    parameters = sum(parameter.numel() for parameter in model.trained.parameters())
    return {
        "images": f"{height}x{width}, {channels} channel{'s' * (channels > 1)}",
        "parameters": f"{parameters:,}",
        "network": type(model.network).__name__,
        **{group: choices[group] for group in ("schedule", "objective", "conditioning")},
    }


def _training(run: Path, config: dict[str, Any], identity: dict[str, Any]) -> dict[str, str]:
    rows: dict[str, str] = {}
    step, epoch = identity["step"], identity["epoch"]
    if step is not None:
        rows["optimizer steps"] = f"{step:,}"
    if epoch is not None:
        rows["epochs"] = f"{epoch:,}"
    if not config:
        return rows
    seconds = _seconds(run, step)
    if seconds:
        rows["minutes"] = f"{seconds / 60:.1f}{_device(run)}"
    flat = flatten(config)
    optimizer = group_choices(flat)["optimizer"]
    rows |= {} if optimizer == "none" else {"optimizer": optimizer}
    rows |= {name: as_typed(flat[key]) for key, name in SHOWN.items() if flat.get(key) is not None}
    for key, name in (("init_from", "began with the weights of"), ("objective.teacher", "teacher")):
        if isinstance(flat.get(key), str):
            rows[name] = _name_of(flat[key])
    result = read_result(run)
    if result and result["steps"] == step:
        at = result.get("measured_at", {})
        rows |= {
            name: f"{value:.4g}, measured at step {at.get(name, step)}"
            for name, value in result["metrics"].items()
            if math.isfinite(value)
        }
    return rows


def _name_of(path: str) -> str:
    """Return the path of a model without the folders of this machine: mnist/version_3, or hf://user/name."""
    return path if is_on_hub(path) else "/".join(Path(path).parts[-2:]).lstrip("/")


def _seconds(run: Path, step: int | None) -> float:
    """Return the time from the first to the last value that a run logged up to this step; pauses between resumes do not count."""
    total = 0.0
    for file in run.glob("events.out.tfevents.*"):
        times = [event.wall_time for event in read_events(file) if step is None or event.step <= step]
        total += max(times) - min(times) if times else 0.0
    return total


def _device(run: Path) -> str:
    """Return what a run was computed on, as its log says it: " (CPU, 2 threads)"; nothing where it does not."""
    log = run / "train.log"
    found = DEVICE.findall(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else []
    return f" ({', then '.join(dict.fromkeys(found))})" if found else ""


def _figures(path: Path, identity: dict[str, Any], weights: str) -> Iterator[Figure]:
    """Yield the finite values that evaluations have found for these weights and no others."""
    try:
        records = [record for record in read_records(path)[0] if _is_of(record, identity, weights)]
    except OSError:
        return
    for cell in newest_cells(records).values():
        for metric, entry in sorted(cell["values"].items()):
            if math.isfinite(entry["value"]):
                yield Figure(metric, value_text(entry), _sampling(cell), _against(cell))


def _is_of(record: Record, identity: dict[str, Any], weights: str) -> bool:
    """Return whether a record is about these weights; evaluations during training know the step and no file."""
    checkpoint = record["checkpoint"]
    if record["weights"] != weights:
        return False
    if checkpoint["file"] is None:
        return identity["step"] is not None and checkpoint["step"] == identity["step"]
    return identity["sha256"] is not None and checkpoint.get("sha256") == identity["sha256"]


def _sampling(cell: Record) -> str:
    steps = f"{cell['num_steps']} step{'s' * (cell['num_steps'] > 1)}"
    guidance = f"guidance {guidance_text(cell)}" if guided(cell) else "no guidance"
    count = f"{cell['num_samples']:,} samples, seed {cell['seed']}, {cell['precision']}"
    return f"{cell['sampler']['name']}, {steps}, {guidance}, {count}"


def _against(cell: Record) -> str:
    real, extractor = cell["reference"], cell["extractor"]
    images = f"{real['num_images']:,} images of {real['dataset']} {real['split']}"
    return f"{images}; features {extractor['name']} {extractor['sha256'][:8]}, {extractor['resizer']}"
