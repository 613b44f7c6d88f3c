"""Describe a run in a few lines: the network before it, its files and the next commands after it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.model_summary import get_human_readable_count
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightdiff.config.build import build_sampler
from lightdiff.config.names import trusting
from lightdiff.core import FewStepObjective, TimeGrid
from lightdiff.core.needs import name_in_configuration, siblings
from lightdiff.data import DiffSet
from lightdiff.data.listing import in_words
from lightdiff.model import DiffusionModel
from lightdiff.samplers import SAMPLERS, name_of
from lightdiff.utils.files import shown, user_path
from lightdiff.utils.program import typed
from lightdiff.utils.quoting import path_text, setting, word
from lightdiff.utils.text import listed, printable

OF_THE_MODEL = ("model", "schedule", "objective", "conditioning", "codec")
"""Groups whose classes a checkpoint names."""
INDENT = " " * 12
WIDTH = 120


def network_summary(model: DiffusionModel) -> str:
    """Return the network's size and its blocks with their numbers of parameters; the average of the weights is not counted in."""
    average = "" if model.ema is None else "; their average is kept apart"
    lines = [f"network:    {type(model.network).__name__}, {_size(model.network)}{average}"]
    blocks = [f"{name} {_number(block):,}" for name, block in model.network.named_children() if _number(block)]
    # a line must not end between the name of a block and its number
    kept_together = ", ".join(block.replace(" ", "~") for block in blocks)
    wrapped = textwrap.wrap(kept_together, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    lines += [line.replace("~", " ") for line in wrapped]
    if model.conditioning is not None:
        lines.append(f"condition:  {type(model.conditioning).__name__}, {_size(model.conditioning)}")
    return "\n".join(lines)


def data_summary(data: DiffSet) -> str:
    """Return how many images of which classes were found for each split, and what was left out."""
    names, apart = data.class_names, data.splits.test
    parts = [
        f"{data.num_train:,} training image{'s' if data.num_train > 1 else ''}",
        f"{data.num_val:,} to validate on",
    ]
    parts += [] if apart is None else [f"{len(apart):,} kept apart for tests"]
    parts.append(f"{len(names)} class{'es' if len(names) > 1 else ''} ({printable(listed(names))})")
    known = data.train_set.annotations
    parts += [] if known.captions is None or known.of_classes else ["captions"]
    parts += [f"columns {printable(listed(list(known.columns)))}"] if known.columns else []
    left_out = in_words(data.splits.left_out)
    return f"data:       {', '.join(parts)}" + (f"; left out: {printable(left_out)}" if left_out else "")


def device_summary(trainer: Trainer) -> str:
    """Return what the run is computed on, and by how many processes."""
    device = trainer.strategy.root_device
    threads = torch.get_num_threads()
    what = {"cpu": f"CPU, {threads} thread{'s' if threads > 1 else ''}"}.get(device.type, device.type)
    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    return f"device:     {what}" + (f", {trainer.world_size} processes" if trainer.world_size > 1 else "")


def batch_norm_warning(trainer: Trainer, model: DiffusionModel) -> list[str]:
    """Return a line if each process would normalise with the statistics of its own images, which torch only mends on GPUs."""
    normed = any(isinstance(module, _BatchNorm) for module in model.network.modules())
    if not normed or trainer.world_size == 1 or trainer.strategy.root_device.type == "cuda":
        return []
    return [
        f"warning:    the BatchNorm of {type(model.network).__name__} uses each process's own images, because torch "
        "synchronises it on GPUs only; the curve is not the one of a single process"
    ]


def run_summary(folder: Path, config: dict[str, Any], result: dict[str, Any], model: DiffusionModel) -> str:
    """Return what a finished run has reached, where its files are, and what can be typed next.

    Args:
        folder: the run's folder.
        config: the run's configuration.
        result: the content of its result.json.
        model: the trained model.
    """
    lines = []
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in result.get("metrics", {}).items())
    if metrics:
        lines.append(f"result:     {metrics}")
    for label, pattern in (("samples:   ", "step_*.png"), ("animation: ", "step_*.gif")):
        pictures = sorted((folder / "samples").glob(pattern))
        if pictures:
            lines.append(f"{label} {shown(pictures[-1])}")
    lines.append(f"run folder: {shown(folder)}")
    unit = "steps" if config["trainer"].get("max_steps", -1) not in (-1, None) else "epochs"
    log_dir = user_path(config.get("log_dir", folder)).absolute()
    commands = [f"tensorboard --logdir {word(path_text(log_dir if log_dir in folder.parents else folder))}"]
    if (folder / "checkpoints" / "last.ckpt").is_file():
        of_model = {name: config.get(name) for name in OF_THE_MODEL}
        # the usual sampler of sample.py is not what a model of few steps is for
        sampler = own_sampler(config) if isinstance(model.objective, FewStepObjective) else ""
        takes = () if model.conditioning is None else model.conditioning.takes
        condition = " condition=IMAGES" if "condition" in takes else ""
        commands = [
            f"{typed('sample')} {setting('ckpt_path', folder)}{sampler}{condition}{trusting(of_model)}",
            *commands,
            f"{typed('train')} {setting('resume', folder)} trainer.max_{unit}={2 * result.get(unit, 0)}"
            f"{trusting(config)}",
        ]
    else:
        lines.append("checkpoint: none, because no callback saves one (callbacks.checkpoints)")
    lines += [f"{'next:' if i == 0 else '':<12}{command}" for i, command in enumerate(commands)]
    return "\n".join(lines)


def own_sampler(config: dict[str, Any]) -> str:
    """Return the arguments with which sample.py takes a run's sampler, with a space in front; "" if it is a user's own."""
    sampler, num_steps = build_sampler(config)
    if name_of(sampler) not in SAMPLERS:
        return ""
    grid = f" sampler/grid={name_in_configuration(type(sampler.grid), TimeGrid)}"
    own_grid = type(sampler.grid) in siblings(TimeGrid)
    return (
        f" sampler={name_of(sampler)}{grid * own_grid} sampler.num_steps={'null' if num_steps is None else num_steps}"
    )


def _number(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count(module: nn.Module) -> str:
    return " ".join(get_human_readable_count(_number(module)).split())


def _size(module: nn.Module) -> str:
    megabytes = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters()) / 1e6
    return f"{_count(module)} parameters, {megabytes:.3f} MB"
