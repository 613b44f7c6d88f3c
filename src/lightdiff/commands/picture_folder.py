"""The folder of pictures that sample.py, edit.py and restore.py write: which one it is, and that it is written as a whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lightdiff.commands.output_folder import check_out, output_folder, write_record
from lightdiff.commands.pictures import FILES, Drawn
from lightdiff.config.instantiate import ConfigError
from lightdiff.model import DiffusionModel, Generation
from lightdiff.samplers import name_of
from lightdiff.utils.files import shown, user_path

DrawnImages = TypeVar("DrawnImages", bound=Drawn)


def check_named_out(config: dict[str, Any], command: str = "sample") -> None:
    """Refuse the folder that `out` names, if any, where it holds files that may not be replaced.

    Raises:
        ConfigError: one line with the folder and what to do.
    """
    if config["out"]:
        check_out(user_path(config["out"]), overwrite=config["overwrite"], command=command)


def check_pixels(config: dict[str, Any], model: DiffusionModel) -> None:
    """Refuse a size of single images that is smaller than the model's images.

    Raises:
        ConfigError: one line with the key, the value and what is expected.
    """
    side = max(model.image_shape[1:])
    if config["pixels"] is not None and config["pixels"] < side:
        raise ConfigError(
            f"pixels={config['pixels']}: {side} or more is expected, the longer side of this model's images"
        )


def content_settings(config: dict[str, Any], generation: Generation, left_out: Sequence[str]) -> dict[str, Any]:
    """Return the settings that decide what is drawn. The SHA-256 of a model that guides stands for its path.

    Args:
        config: the configuration of the command.
        generation: how the images are drawn.
        left_out: keys that decide nothing.
    """
    settings = copy.deepcopy({key: value for key, value in config.items() if key not in left_out})
    for key, part in generation.guidance.parts_by_key().items():
        group = settings
        for name in key.split("."):
            group = group[name]
        group.update({name: model.sha256 for name, model in part.models.items()})
    return settings


def name_parts(config: dict[str, Any], generation: Generation) -> list[str]:
    """Return the parts of the default folder's name that say how the images are drawn."""
    parts = [name_of(generation.sampler), str(generation.num_steps), f"seed{config['seed']}"]
    if config["weights"] != "ema":
        parts.append(config["weights"])
    if generation.guidance.acts or generation.guidance.scale != 1:
        details = generation.guidance.details.replace("=", "").split()
        parts += [f"guidance{generation.guidance.scale:g}", *details]
    if generation.condition_noise is not None:
        parts.append(f"conditionnoise{generation.condition_noise:g}")
    return parts


def write_pictures(
    config: dict[str, Any],
    default: Path,
    settings: dict[str, Any],
    draw: Callable[[], DrawnImages],
    command: str = "sample",
    files: Mapping[str, Callable[[DrawnImages, Path, dict[str, Any]], None]] = FILES,
) -> Path:
    """Draw images, write the files that `save` names into a folder, print a line about it, and return the folder.

    Args:
        config: the configuration of the command.
        default: folder where `out` names none. Its name has to stand for all settings, since its content is replaced.
        settings: what is recorded of how the images were drawn.
        draw: draws them. It is called when the folder is known to be writable.
        command: the command that writes.
        files: name in `save` -> the function that writes the file.

    Raises:
        ConfigError: no folder can be made there.
        OSError: the disk is full or broken.
    """
    out = user_path(config["out"]) if config["out"] else default
    if not config["out"]:
        check_out(out, overwrite=True, command=command)
    with output_folder(out) as folder:
        drawn = draw()
        for name in config["save"]:
            files[name](drawn, folder, config)
        write_record(folder, settings, command=command)
    print(f"{len(drawn.images)} images: {shown(out.absolute())}")
    return out
