"""Draw images from a trained model into files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightdiff.lightning import DiffusionModel, Generation
from lightdiff.lightning.generation import DEFAULT_BATCH_SIZE
from lightdiff.samplers import name_of
from lightdiff.tasks.configuration import plain
from lightdiff.tasks.output_folder import check_out, hash_of, output_folder, write_record
from lightdiff.tasks.pictures import FILES, MOVING, Drawn
from lightdiff.tasks.settings import check_sample_settings
from lightdiff.tasks.trained import load_for_sampling, load_trained, run_of
from lightdiff.utils.config import ConfigError
from lightdiff.utils.files import shown, user_path
from lightdiff.utils.images import to_uint8
from lightdiff.utils.progress import progress

NOT_CONTENT = ("ckpt_path", "out", "overwrite", "progress")
"""Keys of sample.yaml that do not decide what is drawn. The checkpoint's SHA-256 stands for its path."""


def sample(cfg: DictConfig) -> Path:
    """Draw images and write the files that `save` names into a folder; return the folder.

    The folder is written as a whole: it has all files of this call and none of an earlier one.

    Raises:
        ConfigError: a setting that does not exist or does not fit the model, or a folder with other files in it.
        OSError: the disk is full or broken.
    """
    config = plain(cfg)
    check_sample_settings(config)
    out = user_path(config["out"]) if config["out"] else None
    if out is not None:
        check_out(out, overwrite=config["overwrite"])
    checkpoint, model, generation, identity = load_trained(config)
    # the data of the training decide nothing here
    del identity["data"]
    _check_fit(config, model)
    settings = {
        "checkpoint": identity,
        "settings": {key: value for key, value in config.items() if key not in NOT_CONTENT},
    }
    if out is None:
        out = run_of(checkpoint) / "samples" / _name(config, generation, settings)
        check_out(out, overwrite=True)
    with output_folder(out) as folder:
        drawn = _draw(model, generation, config)
        for name in config["save"]:
            FILES[name](drawn, folder, config)
        write_record(folder, settings)
    print(f"{len(drawn.images)} images: {shown(out.absolute())}")
    return out


def check(cfg: DictConfig) -> None:
    """Raise the errors in the configuration that `sample` would raise; nothing is drawn."""
    config = plain(cfg)
    check_sample_settings(config)
    if config["out"]:
        check_out(user_path(config["out"]), overwrite=config["overwrite"])
    _, model, _, _ = load_for_sampling(config, torch.device("cpu"))
    _check_fit(config, model)


def _check_fit(config: dict[str, Any], model: DiffusionModel) -> None:
    if "guidance" in config["save"] and model.conditioning is None:
        raise ConfigError("save=guidance: this model is unconditional (trained with conditioning=none)")
    side = max(model.image_shape[1:])
    if config["pixels"] is not None and config["pixels"] < side:
        raise ConfigError(
            f"pixels={config['pixels']}: {side} or more is expected, the longer side of this model's images"
        )


def _name(config: dict[str, Any], generation: Generation, settings: dict[str, Any]) -> str:
    """Return the name of the default folder. It ends with a hash of all settings and weights, so that others go elsewhere."""
    parts = [name_of(generation.sampler), str(generation.num_steps), f"seed{config['seed']}"]
    if config["weights"] != "ema":
        parts.append(config["weights"])
    if config["guidance_scale"] != 1:
        parts.append(f"guidance{config['guidance_scale']:g}")
    return "_".join([*parts, hash_of(settings)])


def _draw(model: DiffusionModel, generation: Generation, config: dict[str, Any]) -> Drawn:
    size = config["batch_size"] or DEFAULT_BATCH_SIZE
    rows = range(config["num_samples"])
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    compared = rows[: min(config["columns"], size)]
    scales = config["guidance_scales"] if "guidance" in config["save"] else []
    process: dict[str, list[Tensor]] = {"x_t": [], "x0_hat": []}
    times: list[float] = []

    def finished(x: Tensor) -> Tensor:
        return to_uint8(model.to_unit_range(x)).cpu()

    total = (len(batches) + len(scales)) * generation.num_steps
    with progress("drawing samples", total, shown=config["progress"]) as task:

        def result(generation: Generation, batch: range, followed: bool) -> Tensor:
            for i, state in enumerate(generation.trajectory(model, batch)):
                task.advance(int(i > 0))
                if followed and i % config["frame_every"] == 0 and i < generation.num_steps:
                    for name, frames in process.items():
                        frames.append(finished(getattr(state, name)))
                    times.append(state.t)
            return finished(state.x_t)

        moving = bool(MOVING & set(config["save"]))
        images = [result(generation, batch, moving and batch.start == 0) for batch in batches]
        by_guidance = [result(replace(generation, guidance_scale=scale), compared, False) for scale in scales]
    x_t, x0_hat = (torch.stack([*frames, images[0]]) for frames in process.values())
    return Drawn(
        torch.cat(images),
        x_t,
        x0_hat,
        torch.cat([*by_guidance, images[0][:0]]),
        generation.labels_of_rows(rows),
        model.class_names,
        (*times, 0.0),
    )
