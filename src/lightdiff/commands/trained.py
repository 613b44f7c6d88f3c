"""Load a trained model and the settings of its sampling, as sample.yaml and eval.yaml have them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lightdiff.config.build import build_guidance, build_sampler
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.speed import prepare_sampling
from lightdiff.config.trust import Trust
from lightdiff.core import Denoiser
from lightdiff.model import (
    CheckpointError,
    DiffusionModel,
    Generation,
    example_of,
    find_checkpoint,
    load_identified,
)
from lightdiff.model.guides import GuideFiles
from lightdiff.model.loop import batches
from lightdiff.utils.files import user_path
from lightdiff.utils.ranks import rank_and_world_size


def load_trained(config: dict[str, Any]) -> tuple[Path, DiffusionModel, Generation, dict[str, Any]]:
    """Load the model of `ckpt_path` onto the device and prepare it for fast sampling.

    Args:
        config: ckpt_path, weights, device, sampler, guidance, guidance_scale, seed and so on, for sample.py labels and prompt
            as well.

    Returns:
        The checkpoint's file, the model, the settings of its sampling, and what identifies the weights (see `load_identified`).

    Raises:
        ConfigError: one line with the key, the value, the choices.
    """
    checkpoint, model, generation, identity = load_for_sampling(config, device_of(config["device"]))
    calls = len(batches(range(config["num_samples"]), config["batch_size"])) * generation.num_steps
    guides = [guide for part in generation.guidance.parts_by_key().values() for guide in part.models.values()]
    weaker = [guide.module for guide in guides if isinstance(guide.module, Denoiser)]
    chosen = prepare_sampling(config, model, calls, weaker)
    if rank_and_world_size()[0] == 0:
        print(chosen, flush=True)
    return checkpoint, model, generation, identity


def load_for_sampling(
    config: dict[str, Any], device: torch.device
) -> tuple[Path, DiffusionModel, Generation, dict[str, Any]]:
    """Do as `load_trained` does, on a device, but prepare nothing and print nothing."""
    with naming_path("ckpt_path", config["ckpt_path"]):
        checkpoint = find_checkpoint(config["ckpt_path"])
    sampler, num_steps = build_sampler(config)
    guidance = build_guidance(config)
    with naming_path("ckpt_path", config["ckpt_path"]):
        trust = Trust.of(config["trust"])
        model, identity = load_identified(checkpoint, weights=config["weights"], map_location=device, trust=trust)
    try:
        generation = Generation.of(
            model,
            num_samples=config["num_samples"],
            sampler=sampler,
            num_steps=num_steps,
            guidance=guidance,
            guidance_scale=config["guidance_scale"],
            **_asked(config, model),
            condition_noise=config["condition_noise"],
            seed=config["seed"],
            weights=config["weights"],
            precision=config["precision"],
            guides=GuideFiles(model, trust, beside=checkpoint.parent),
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(re.sub(r"^num_steps=", "sampler.num_steps=", str(error))) from error
    return checkpoint, model, generation, identity


def _asked(config: dict[str, Any], model: DiffusionModel) -> dict[str, Any]:
    """Return the labels, prompts and files of condition images that are asked for; eval.py chooses its own, by the data."""
    if "labels" not in config:
        return example_of(model)
    return {name: config[name] for name in ("labels", "prompt", "condition")}


@contextmanager
def naming_path(key: str, path: str | Path) -> Iterator[None]:
    """Prefix errors about `path` with the config key that named it."""
    try:
        yield
    except CheckpointError as error:
        if not str(error).startswith(str(user_path(path))):
            raise
        raise CheckpointError(f"{key}={error}") from error


def device_of(name: str) -> torch.device:
    """Return the device of that name. "auto" prefers a GPU; each process takes its own."""
    if name == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.empty(0, device=kind).device
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device={name}: not there; choices: auto, cpu, cuda, cuda:N, mps") from error
