"""Where files of weights lie: in a run folder, in an exported folder, in a folder of diffusers."""

from __future__ import annotations

from pathlib import Path

STEM = "diffusion_pytorch_model"
"""First part of the names of diffusers' files with weights."""
UNET = "unet"
"""Folder of the network in the folder of a pipeline of diffusers."""


def folder_of(weights: Path) -> Path:
    """Return the run folder of a checkpoint, or the folder of the pipeline of a file of diffusers; else the file's own folder."""
    inner = UNET if weights.name.startswith(STEM) else "checkpoints"
    return weights.parent.parent if weights.parent.name == inner else weights.parent


def is_of_diffusers(path: Path) -> bool:
    """Return whether a path is that of a folder of diffusers with a network, or of a file of weights in it."""
    if not path.is_dir():
        return path.name.startswith(STEM)
    return (
        any(True for place in (path, path / UNET) for _ in place.glob(f"{STEM}*"))
        or (path / UNET / "config.json").is_file()
    )
