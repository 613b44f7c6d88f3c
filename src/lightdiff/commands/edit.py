"""Edit images with a trained model: fill a part anew, vary, morph, or find their noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightdiff.commands.drawing import Follower
from lightdiff.commands.edit_inputs import read_images, read_mask
from lightdiff.commands.edits import EditTask, Given
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
from lightdiff.config.instantiate import ConfigError, instantiate
from lightdiff.config.plain import plain
from lightdiff.config.settings import COUNT, check_ranges
from lightdiff.core import NoGuidance
from lightdiff.data.given_images import image_files
from lightdiff.data.resize import ResizeMode
from lightdiff.model import DiffusionModel, Generation
from lightdiff.model.loop import batches
from lightdiff.utils.progress import progress
from lightdiff.utils.weight_files import folder_of

NOT_CONTENT = ("ckpt_path", "image", "mask", "condition", "out", "overwrite", "progress")
"""Keys of edit.yaml that do not decide what is drawn. SHA-256 of the checkpoint and of the pixels stand for the paths."""
HIDDEN = 128
"""Level of gray that covers the part to be filled in `input.png`."""


@dataclass(frozen=True)
class EditSettings(PictureSettings):
    """The keys of edit.yaml beside the groups.

    Raises:
        ConfigError: a number is out of its range.
    """

    needed: ClassVar[tuple[str, ...]] = ("task", "sampler")

    save: Sequence[Literal["grid", "input", "png", "npz", "gif", "mp4", "strip", "steps", "history"]]
    image: str | Sequence[str]
    mask: str | None
    resize_mode: ResizeMode
    range: tuple[float, float] | None
    max_pixels: int

    def __post_init__(self) -> None:
        check_ranges("", vars(self), {"max_pixels": COUNT})
        super().__post_init__()


def edit(cfg: DictConfig) -> Path:
    """Edit images and write the files that `save` names into a folder; return the folder.

    Raises:
        ConfigError: a setting that does not exist or does not fit, an image that cannot be read, or a folder with other files in
            it.
        OSError: the disk is full or broken.
    """
    config = plain(cfg)
    task, files = _checked(config)
    checkpoint, model, generation, identity = load_trained(config)
    # the data of the training decide nothing here
    del identity["data"]
    generation = _fitted(config, task, model, generation)
    images, mask = _read(config, files, model)
    settings = {
        "checkpoint": identity,
        "images": hash_of_pixels(images),
        "mask": None if mask is None else hash_of_pixels(mask),
        **({} if generation.condition is None else {"condition": hash_of_pixels(generation.condition)}),
        "settings": content_settings(config, generation, NOT_CONTENT),
    }
    name = "_".join([task.name(), *name_parts(config, generation), hash_of(settings)])
    return write_pictures(
        config,
        folder_of(checkpoint) / "samples" / name,
        settings,
        lambda: _draw(task, model, generation, config, images, mask),
        command="edit",
    )


def check(cfg: DictConfig) -> None:
    """Raise the errors in the configuration that `edit` would raise; nothing is drawn."""
    config = plain(cfg)
    task, files = _checked(config)
    _, model, generation, _ = load_for_sampling(config, torch.device("cpu"))
    _fitted(config, task, model, generation)
    _read(config, files, model)


def _checked(config: dict[str, Any]) -> tuple[EditTask, list[Path]]:
    """Check what needs no model, and set num_samples; return the task and the image files."""
    check_pictures(config, EditSettings)
    check_named_out(config, "edit")
    task: EditTask = instantiate(config["task"], key="task")
    if task.takes_mask and config["mask"] is None:
        raise ConfigError(
            "mask: a value is needed (mask=...), an image that is white where the pixels are to be filled"
        )
    if not task.takes_mask and config["mask"] is not None:
        masked = [kind.name() for kind in EditTask.__subclasses__() if kind.takes_mask]
        raise ConfigError(f"mask={config['mask']}: task={task.name()} takes no mask; choices: task={', '.join(masked)}")
    files = image_files(config["image"])
    with _one_line():
        config["num_samples"] = task.count(len(files), config["num_samples"])
    return task, files


def _fitted(config: dict[str, Any], task: EditTask, model: DiffusionModel, generation: Generation) -> Generation:
    """Check the settings against the model; return the generation as it is for editing."""
    check_pixels(config, model)
    with _one_line():
        task.check(generation, model)
    return unaimed(config, generation)


def unaimed(config: dict[str, Any], generation: Generation) -> Generation:
    """Return the generation as it is for given images: without labels and prompt, no class or caption is aimed at.

    Raises:
        ConfigError: the guidance needs a class or caption, and none is given.
    """
    if config["labels"] is not None or config["prompt"] is not None:
        return generation
    if generation.condition is not None:
        if generation.labels is not None:
            raise ConfigError("labels: a value is needed beside condition=..., because this model knows classes too")
        return generation
    parts = generation.guidance.parts_by_key()
    for key, part in parts.items():
        if (part.needs_condition and part.scale not in (0, 1)) or (part.class_names and part.acts):
            named = "guidance_scale" if len(parts) == 1 else f"{key}.scale"
            raise ConfigError(
                f"{named}={part.scale:g}: labels=... or prompt=... is needed, because given images are worked on "
                "without a class or caption where neither is given"
            )
    if generation.guidance.needs_condition:
        generation = replace(generation, guidance=NoGuidance())
    return replace(generation, choice=None, labels=None)


def _read(config: dict[str, Any], files: list[Path], model: DiffusionModel) -> tuple[Tensor, Tensor | None]:
    """Return the images, uint8 (K, C, H, W), and the mask, bool (1, 1, H, W), if there is one."""
    mask = None if config["mask"] is None else read_mask(config["mask"], config, model.image_shape)
    return read_images(files, config, model.image_shape), mask


def _draw(
    task: EditTask,
    model: DiffusionModel,
    generation: Generation,
    config: dict[str, Any],
    images: Tensor,
    mask: Tensor | None,
) -> Drawn:
    given = Given(
        model.encode(images.to(model.device)),
        config["num_samples"],
        None if mask is None else mask.to(model.device, model.float_dtype),
    )
    parts = batches(range(config["num_samples"]), config["batch_size"])
    with progress("editing images", len(parts) * generation.num_steps, shown=config["progress"]) as counter:
        follower = Follower(model, config, counter)
        results = [
            follower.result(generation.stepwise(model, task.trajectory(model, generation, given, part)), part)
            for part in parts
        ]
    return Drawn(
        torch.cat(results),
        *follower.process(results[0]),
        results[0][:0],
        generation.labels_of_rows(range(config["num_samples"])),
        model.class_names,
        (*follower.times, 0.0),
        images if mask is None else images.masked_fill(mask, HIDDEN),
        torch.cat(follower.starts) if task.gives_noise else None,
    )


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what a task refuses into the error of a bad configuration."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error
