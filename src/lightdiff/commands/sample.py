"""Draw images from a trained model into files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig

from lightdiff.commands.drawing import Follower
from lightdiff.commands.output_folder import hash_of, hash_of_pixels
from lightdiff.commands.picture_folder import (
    check_named_out,
    check_pixels,
    content_settings,
    name_parts,
    write_pictures,
)
from lightdiff.commands.picture_settings import PictureSettings, check_pictures
from lightdiff.commands.pictures import Drawn
from lightdiff.commands.trained import load_for_sampling, load_trained
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.plain import plain
from lightdiff.model import NEVER_WITHOUT, DiffusionModel, Generation, pictured
from lightdiff.model.loop import batches
from lightdiff.utils.images import to_uint8
from lightdiff.utils.progress import progress
from lightdiff.utils.weight_files import folder_of

NOT_CONTENT = ("ckpt_path", "condition", "out", "overwrite", "progress")
"""Keys of sample.yaml that do not decide what is drawn. SHA-256 of the checkpoint and of the pixels stand for the paths."""


@dataclass(frozen=True)
class SampleSettings(PictureSettings):
    """The keys of sample.yaml beside the groups.

    Raises:
        ValueError: there are no scales for the picture of the guidance.
    """

    num_samples: int
    save: Sequence[Literal["grid", "input", "png", "npz", "gif", "mp4", "strip", "steps", "history", "guidance"]]
    guidance_scales: Sequence[float]

    def __post_init__(self) -> None:
        if "guidance" in self.save and not self.guidance_scales:
            raise ValueError("guidance_scales=[]: at least one is expected for save=guidance")
        super().__post_init__()


def sample(cfg: DictConfig) -> Path:
    """Draw images and write the files that `save` names into a folder; return the folder.

    The folder is written as a whole: it has all files of this call and none of an earlier one.

    Raises:
        ConfigError: a setting that does not exist or does not fit the model, or a folder with other files in it.
        OSError: the disk is full or broken.
    """
    config = plain(cfg)
    check_pictures(config, SampleSettings)
    check_named_out(config)
    checkpoint, model, generation, identity = load_trained(config)
    # the data of the training decide nothing here
    del identity["data"]
    _check_fit(config, model, generation)
    settings = {
        "checkpoint": identity,
        **({} if generation.condition is None else {"condition": hash_of_pixels(generation.condition)}),
        "settings": content_settings(config, generation, NOT_CONTENT),
    }
    return write_pictures(
        config,
        folder_of(checkpoint) / "samples" / "_".join([*name_parts(config, generation), hash_of(settings)]),
        settings,
        lambda: _draw(model, generation, config),
    )


def check(cfg: DictConfig) -> None:
    """Raise the errors in the configuration that `sample` would raise; nothing is drawn."""
    config = plain(cfg)
    check_pictures(config, SampleSettings)
    check_named_out(config)
    _, model, generation, _ = load_for_sampling(config, torch.device("cpu"))
    _check_fit(config, model, generation)


def _check_fit(config: dict[str, Any], model: DiffusionModel, generation: Generation) -> None:
    check_pixels(config, model)
    if generation.condition is None and "input" in config["save"]:
        raise ConfigError("save=input: there are no condition images to show (condition=...)")
    if generation.condition is not None and "input" not in config["save"]:
        config["save"] = ["input", *config["save"]]
    if "guidance" not in config["save"]:
        return
    if generation.guidance.needs_condition:
        if model.conditioning is None:
            raise ConfigError("save=guidance: this model is unconditional (trained with conditioning=none)")
        if not model.conditioning.guidance_acts:
            raise ConfigError(f"save=guidance: {NEVER_WITHOUT}")
    try:
        _by_scale(generation, config["guidance_scales"])
    except ValueError as error:
        raise ConfigError(f"save=guidance: {error}") from error


def _by_scale(generation: Generation, scales: Sequence[float]) -> list[Generation]:
    """Return the generation with each of these guidance scales."""
    return [replace(generation, guidance=generation.guidance.scaled(scale)) for scale in scales]


def _draw(model: DiffusionModel, generation: Generation, config: dict[str, Any]) -> Drawn:
    parts = batches(range(config["num_samples"]), config["batch_size"])
    compared = parts[0][: config["columns"]]
    scaled = _by_scale(generation, config["guidance_scales"] if "guidance" in config["save"] else [])
    total = (len(parts) + len(scaled)) * generation.num_steps
    with progress("drawing samples", total, shown=config["progress"]) as task:
        follower = Follower(model, config, task)
        images = [follower.result(generation.trajectory(model, part), part) for part in parts]
        by_guidance = [follower.result(each.trajectory(model, compared)) for each in scaled]
    given = pictured(generation, model, range(config["num_samples"]))
    return Drawn(
        torch.cat(images),
        *follower.process(images[0]),
        torch.cat([*by_guidance, images[0][:0]]),
        generation.labels_of_rows(range(config["num_samples"])),
        model.class_names,
        (*follower.times, 0.0),
        None if given is None else to_uint8(given),
    )
