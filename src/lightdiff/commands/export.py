"""Write a trained model as a folder for sharing, in formats in which there is no place for code.

The format safetensors takes every model, for `load_model` and `sample.py`. The format diffusers takes the models that diffusers
can express, and draws the same images from the same noise:

- A DDIMPipeline, called with `use_clipped_model_output=True`, draws as our sampler ddim.
- A consistency model becomes a DDPMPipeline with diffusers' LCMScheduler, which draws as our sampler renoise where the number of
  steps divides that of the timesteps. The scheduler would mix x0_hat with x_t; its factors c_skip and c_out are made 0 and 1.

Consistency models of schedule=edm cannot be expressed: diffusers' CMStochasticIterativeScheduler gives the network 250 log(sigma)
as its time, and lightdiff gives 100 log(sigma). Nor can networks with takes_s, which diffusers would call without s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig

from lightdiff.commands.output_folder import has_content, output_folder
from lightdiff.commands.trained import naming_path
from lightdiff.config.command_settings import ModelSettings, check_command
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.plain import plain
from lightdiff.core import (
    ConsistencyObjective,
    DiscreteSchedule,
    PixelCodec,
    cosine_betas,
)
from lightdiff.jobs.described import dataset_of_run, portable
from lightdiff.model import DiffusionModel, find_checkpoint, load_model, save_export
from lightdiff.model.diffusers_folder import BETAS as TABLES
from lightdiff.model.diffusers_folder import PREDICTIONS as READ_PREDICTIONS
from lightdiff.networks import DiffusersUNet2D
from lightdiff.networks.diffusers_unet import save_pipeline
from lightdiff.utils.files import shown, user_path

BETAS = ("squaredcos_cap_v2", "linear", "scaled_linear")
"""Names in diffusers of the tables of betas that both schedulers know."""
SCHEDULES = ", ".join(TABLES[name].__name__.removesuffix("_betas") for name in BETAS)
"""Our names of these tables, for messages."""
PREDICTIONS = {kind: name for name, kind in READ_PREDICTIONS.items()}
"""Prediction -> its name in diffusers."""
ORDINARY = ("DDIMPipeline", "DDIMScheduler")
CONSISTENT = ("DDPMPipeline", "LCMScheduler")
"""Pipeline and scheduler in diffusers: `CONSISTENT` for consistency models, `ORDINARY` for all others."""


@dataclass(frozen=True)
class ExportSettings(ModelSettings):
    """The keys of export.yaml."""

    format: Literal["safetensors", "diffusers"]
    half: bool
    out: str


def export(cfg: DictConfig) -> Path:
    """Write the model into the folder `out`, as a whole or not at all, and return it.

    Raises:
        ConfigError: no such model, a folder that is not empty, or a model that the format cannot express.
        OSError: the disk is full or broken.
    """
    settings = check_command(plain(cfg), ExportSettings)
    with naming_path("ckpt_path", settings.ckpt_path):
        checkpoint = find_checkpoint(settings.ckpt_path)
        model = load_model(checkpoint, weights=settings.weights, trust=settings.trust)
    if model.dataset is None:
        # trained before checkpoints knew their data set, or in plain Python
        model.dataset = portable(dataset_of_run(checkpoint) or {}) or None
    if settings.half and settings.format == "diffusers":
        raise ConfigError("half=true: only with format=safetensors")
    scheduler = diffusers_scheduler(model) if settings.format == "diffusers" else None
    out = user_path(settings.out)
    if has_content(out):
        raise ConfigError(f"out={out}: a new or an empty folder is expected")
    with output_folder(out) as folder:
        if scheduler is not None:
            pipeline = CONSISTENT if isinstance(model.objective, ConsistencyObjective) else ORDINARY
            save_pipeline(model.network, str(folder), *pipeline, scheduler)  # type: ignore[arg-type]
        else:
            save_export(
                model, folder, weights="raw" if model.ema_decay is None else settings.weights, half=settings.half
            )
    print(f"{settings.format}: {shown(out.absolute())}")
    return out


def diffusers_scheduler(model: DiffusionModel) -> dict[str, Any]:
    """Return the model's schedule and prediction as arguments of its scheduler in diffusers.

    Raises:
        ConfigError: diffusers has no pipeline for such a model; one line with the key, the value and the choices.
    """

    def refuse(key: str, value: Any, choices: str) -> ConfigError:
        return ConfigError(
            f"{key}={value}: format=diffusers cannot express it; choices: {choices}, or format=safetensors"
        )

    if not isinstance(model.network, DiffusersUNet2D):
        raise refuse("model", type(model.network).__name__, "DiffusersUNet2D")
    if model.conditioning is not None:
        raise refuse("conditioning", type(model.conditioning).__name__, "none")
    if model.network.cond_dim is not None:
        raise refuse("model.cond_dim", model.network.cond_dim, "null")
    prediction = model.trained.prediction
    if type(prediction) not in PREDICTIONS:
        raise refuse(
            "objective.prediction", type(prediction).__name__, ", ".join(kind.__name__ for kind in PREDICTIONS)
        )
    if not model.objective.noise.is_gaussian:
        raise refuse("objective.noise", type(model.objective.noise).__name__, "GaussianNoise")
    if not isinstance(model.schedule, DiscreteSchedule):
        raise refuse("schedule", type(model.schedule).__name__, SCHEDULES)
    if model.trained.time_input not in (None, "timestep"):
        raise refuse("time_input", model.trained.time_input, "null, timestep")
    if not isinstance(model.codec, PixelCodec):
        raise refuse("codec", type(model.codec).__name__, "PixelCodec")
    if model.codec.value_range != (-1.0, 1.0):
        raise refuse("codec.value_range", list(model.codec.value_range), "[-1, 1]")
    settings = {
        **_table(model.schedule),
        "rescale_betas_zero_snr": model.schedule.zero_terminal_snr,
        "prediction_type": PREDICTIONS[type(prediction)],
        # our default grid
        "timestep_spacing": "trailing",
        "clip_sample": True,
        "set_alpha_to_one": True,
    }
    if not isinstance(model.objective, ConsistencyObjective):
        return settings
    # so large a scaling makes c_skip = 0 and c_out = 1 to the last digit at every timestep but 0
    return {**settings, "original_inference_steps": model.schedule.num_train_timesteps, "timestep_scaling": 1e9}


def _table(schedule: DiscreteSchedule) -> dict[str, Any]:
    """Return the betas as one of the tables that diffusers knows, as arguments of its scheduler."""
    T, betas = schedule.num_train_timesteps, schedule.betas
    start, end = float(betas[0]), float(betas[-1])

    def same(table: torch.Tensor) -> bool:
        return torch.allclose(betas, table, rtol=1e-9, atol=0)

    for name in BETAS:
        build = TABLES[name]
        ends = {} if build is cosine_betas else {"beta_start": start, "beta_end": end}
        if (not ends or start <= end < 1) and same(build(T, **ends)):
            return {"num_train_timesteps": T, "beta_schedule": name, **ends}
    raise ConfigError(
        f"schedule.betas=another table: format=diffusers cannot express it; choices: those of {SCHEDULES} (cosine with offset "
        "0.008, max_beta 0.999), or format=safetensors"
    )
