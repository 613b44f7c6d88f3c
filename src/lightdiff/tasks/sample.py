"""Draw images from a trained model into files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from lightdiff.lightning import DiffusionModel, Generation, find_checkpoint, load_model
from lightdiff.lightning.generation import DEFAULT_BATCH_SIZE
from lightdiff.tasks.build import build_sampler, plain
from lightdiff.tasks.pictures import FILES, MOVING, Drawn
from lightdiff.tasks.settings import check_sample_settings
from lightdiff.utils.config import ConfigError
from lightdiff.utils.files import shown
from lightdiff.utils.images import to_uint8


def sample(cfg: DictConfig) -> Path:
    """Write what `save` asks for into a folder, and return it.

    Raises:
        ConfigError: a setting that does not exist or does not fit the model.
    """
    config = plain(cfg)
    check_sample_settings(config)
    checkpoint = find_checkpoint(config["ckpt_path"])
    sampler, num_steps = build_sampler(config)
    device = _device(config["device"])
    model = load_model(checkpoint, weights=config["weights"], map_location=device)
    try:
        generation = Generation.of(
            model,
            sampler=sampler,
            num_steps=num_steps,
            guidance_scale=config["guidance_scale"],
            labels=config["labels"],
            prompt=config["prompt"],
            seed=config["seed"],
            weights=config["weights"],
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(re.sub(r"^num_steps=", "sampler.num_steps=", str(error))) from error
    if "guidance" in config["save"] and model.conditioning is None:
        raise ConfigError("save=guidance: this model is unconditional (trained with conditioning=none)")
    out = Path(config["out"]) if config["out"] else _default_out(checkpoint, config, generation)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out={out}: no folder can be made there ({error.strerror})") from error
    drawn = _draw(model, generation, config)
    for name in config["save"]:
        FILES[name](drawn, out, config)
    print(f"{len(drawn.images)} images: {shown(out.absolute())}")
    return out


def _device(name: str) -> torch.device:
    if name == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device={name}: not there; choices: auto, cpu, cuda, cuda:N, mps") from error


def _default_out(checkpoint: Path, config: dict[str, Any], generation: Generation) -> Path:
    folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    sampler = (
        HydraConfig.get().runtime.choices["sampler"] if HydraConfig.initialized() else type(generation.sampler).__name__
    )
    parts = [str(sampler).lower(), str(generation.num_steps), f"seed{config['seed']}"]
    if config["weights"] != "ema":
        parts.append(config["weights"])
    if config["guidance_scale"] != 1:
        parts.append(f"guidance{config['guidance_scale']:g}")
    return folder / "samples" / "_".join(parts)


def _draw(model: DiffusionModel, generation: Generation, config: dict[str, Any]) -> Drawn:
    size = config["batch_size"] or DEFAULT_BATCH_SIZE
    rows = range(config["num_samples"])
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    compared = rows[: min(config["columns"], size)]
    scales = config["guidance_scales"] if "guidance" in config["save"] else []
    process: dict[str, list[Tensor]] = {"x_t": [], "x0_hat": []}

    def finished(x: Tensor) -> Tensor:
        return to_uint8(model.to_unit_range(x)).cpu()

    total = (len(batches) + len(scales)) * generation.num_steps
    with tqdm(total=total, desc="sampling", unit="step", disable=not config["progress"]) as bar:

        def result(generation: Generation, batch: range, followed: bool) -> Tensor:
            for i, state in enumerate(generation.trajectory(model, batch)):
                bar.update(int(i > 0))
                if followed and i % config["frame_every"] == 0 and i < generation.num_steps:
                    for name, frames in process.items():
                        frames.append(finished(getattr(state, name)))
            return finished(state.x_t)

        moving = bool(MOVING & set(config["save"]))
        images = [result(generation, batch, moving and batch.start == 0) for batch in batches]
        by_guidance = [result(replace(generation, guidance_scale=scale), compared, False) for scale in scales]
    x_t, x0_hat = (torch.stack([*frames, images[0]]) for frames in process.values())
    return Drawn(torch.cat(images), x_t, x0_hat, torch.cat([*by_guidance, images[0][:0]]))
