"""Draw images from a trained model into files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from lightdiff.lightning import DiffusionModel, Generation, find_checkpoint, load_model
from lightdiff.lightning.generation import DEFAULT_BATCH_SIZE
from lightdiff.tasks.build import build_sampler, plain
from lightdiff.tasks.settings import check_sample_settings
from lightdiff.utils.config import ConfigError
from lightdiff.utils.files import shown
from lightdiff.utils.images import encode_gif, enlarge, hold_last, make_grid, save_mp4, save_png, to_uint8

MOVING = {"gif", "mp4", "strip", "steps"}
"""Files that show the process and not only its result."""


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
    out = Path(config["out"]) if config["out"] else _default_out(checkpoint, config, generation)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out={out}: no folder can be made there ({error.strerror})") from error
    images, frames = _draw(model, generation, config)
    _write(out, images, frames, config)
    print(f"{len(images)} images: {shown(out.absolute())}")
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


def _draw(model: DiffusionModel, generation: Generation, config: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """uint8 images (N, C, H, W) and the frames (F, K, C, H, W) of the first batch's process."""
    size = config["batch_size"] or DEFAULT_BATCH_SIZE
    rows = range(config["num_samples"])
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    images: list[Tensor] = []
    frames: list[Tensor] = []
    wanted = MOVING & set(config["save"])
    total = len(batches) * generation.num_steps
    with tqdm(total=total, desc="sampling", unit="step", disable=not config["progress"]) as bar:
        for batch in batches:
            for i, state in enumerate(generation.trajectory(model, batch)):
                bar.update(int(i > 0))
                if wanted and batch.start == 0 and i % config["frame_every"] == 0 and i < generation.num_steps:
                    frames.append(to_uint8(model.to_unit_range(getattr(state, config["show"]))).cpu())
            images.append(to_uint8(model.to_unit_range(state.x_t)).cpu())
    frames.append(images[0])
    return torch.cat(images), torch.stack(frames)


def _write(out: Path, images: Tensor, frames: Tensor, config: dict[str, Any]) -> None:
    save, columns = config["save"], config["columns"]
    if "grid" in save:
        save_png(out / "grid.png", enlarge(make_grid(images, columns)))
    if "png" in save:
        for i, image in enumerate(images):
            save_png(out / "images" / f"{i:05d}.png", image)
    if "npz" in save:
        np.savez(out / "samples.npz", images=images.movedim(1, -1).numpy())  # (N, H, W, C) uint8, as FID tools read it
    if "strip" in save:
        save_png(out / "strip.png", enlarge(make_grid(stages(frames, config["stages"]), config["stages"])))
    if "steps" in save:
        for i, frame in enumerate(enlarge(make_grid(frames, columns))):
            save_png(out / "steps" / f"{i:05d}.png", frame)
    if {"gif", "mp4"} & set(save):
        shown_frames = enlarge(hold_last(list(make_grid(frames, columns)), config["hold_frames"]))
        if "gif" in save:
            (out / "process.gif").write_bytes(encode_gif(shown_frames, fps=config["fps"]))
        if "mp4" in save:
            save_mp4(out / "process.mp4", shown_frames, fps=config["fps"])


def stages(frames: Tensor, count: int) -> Tensor:
    """A row of `count` evenly spaced frames for each image: (F, K, C, H, W) to (K * count, C, H, W)."""
    chosen = torch.linspace(0, len(frames) - 1, count).round().long()
    return frames[chosen].transpose(0, 1).flatten(0, 1)
