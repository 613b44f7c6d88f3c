"""Folders of diffusers with an unconditional model: a UNet2DModel and a scheduler, described as a model of lightdiff.

In the usual form the folder has `unet/config.json` beside the weights, `scheduler/scheduler_config.json` and `model_index.json`.
In the flat form of the first releases of diffusers all files lie in the folder itself. The scheduler says the betas and what the
network's output means. How diffusers would draw (its steps, their spacing, clipping, the variance) is left to the sampler.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lightdiff.core import EpsilonPrediction, VPrediction, X0Prediction
from lightdiff.core.betas import cosine_betas, linear_betas, scaled_linear_betas, sigmoid_betas
from lightdiff.model.diffusers_weights import find_weights
from lightdiff.model.errors import CheckpointError
from lightdiff.model.limits import check_length
from lightdiff.utils.structure import (
    ANYTHING,
    FINITE,
    TEXT,
    Items,
    Keys,
    Leaf,
    Misfit,
    Nullable,
    Optional,
    is_count,
)
from lightdiff.utils.text import shorten
from lightdiff.utils.weight_files import UNET, folder_of

NETWORK = "lightdiff.networks.DiffusersUNet2D"
BETAS: dict[str, Callable[..., Tensor]] = {
    "squaredcos_cap_v2": cosine_betas,
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "sigmoid": sigmoid_betas,
}
"""Name in diffusers of a table of betas -> our function."""
PREDICTIONS = {"epsilon": EpsilonPrediction, "v_prediction": VPrediction, "sample": X0Prediction}
"""Name in diffusers of what a network's output means -> our prediction."""
OBJECTIVES = {
    **dict.fromkeys(
        ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler"), "DiffusionObjective"
    ),
    "LCMScheduler": "ConsistencyObjective",
}
"""Class of a scheduler that has betas -> the objective of models that are drawn with it."""

_POSITIVE = Leaf(lambda value: is_count(value) and value > 0, "a whole number, 1 or more,")
_SIZE = Leaf(lambda value: _POSITIVE.fits(value) or Items(_POSITIVE, 2).fits(value), "a size or [height, width]")
_UNET = Keys(
    _class_name=Leaf(lambda value: value == "UNet2DModel", "UNet2DModel"),
    in_channels=_POSITIVE,
    out_channels=_POSITIVE,
    sample_size=_SIZE,
    block_out_channels=Items(_POSITIVE),
    layers_per_block=_POSITIVE,
    down_block_types=Items(TEXT),
    up_block_types=Items(TEXT),
    class_embed_type=Optional(Leaf(lambda value: value is None, "null (a model without classes)")),
    num_class_embeds=Optional(Leaf(lambda value: value is None, "null (a model without classes)")),
)
_SCHEDULER = Keys(
    _class_name=Leaf(lambda value: value in OBJECTIVES, f"one of {', '.join(OBJECTIVES)}"),
    num_train_timesteps=_POSITIVE,
    prediction_type=Optional(Leaf(lambda value: value in PREDICTIONS, f"one of {', '.join(PREDICTIONS)}")),
    trained_betas=Optional(Nullable(Items(FINITE))),
    beta_schedule=Optional(Leaf(lambda value: value in BETAS, f"one of {', '.join(BETAS)}")),
    beta_start=Optional(FINITE),
    beta_end=Optional(FINITE),
    rescale_betas_zero_snr=Optional(Nullable(ANYTHING)),
)
_OWN = (
    *("in_channels", "out_channels", "sample_size", "block_out_channels", "layers_per_block"),
    *("class_embed_type", "num_class_embeds"),
)
"""Settings of UNet2DModel that `DiffusersUNet2D` makes of arguments of its own."""


def network_of(path: Path) -> dict[str, Any]:
    """Return the arguments of `DiffusersUNet2D` for the network in a folder of diffusers.

    Args:
        path: the folder, or a file of weights in it.

    Raises:
        CheckpointError: there is no such network; one line that names the file and what is wrong with it.
    """
    weights = find_weights(path) if path.is_dir() else path
    if weights is None:
        raise CheckpointError(f"{path}: no folder of diffusers")
    config = _read(weights.parent / "config.json", _UNET)
    if config["in_channels"] != config["out_channels"]:
        raise CheckpointError(
            f"{weights.parent / 'config.json'}: in_channels={config['in_channels']}, out_channels={config['out_channels']}: the "
            "same number is expected (no learned variance, no condition among the channels)"
        )
    kinds = ["Attn" if kind == "AttnDownBlock2D" else "" for kind in config["down_block_types"]]
    usual = {
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
    }
    further = {
        name: value
        for name, value in {"norm_num_groups": 32, **config}.items()
        if not name.startswith("_") and name not in _OWN and usual.get(name, ...) != value
    }
    return {
        "channels": config["in_channels"],
        "image_size": config["sample_size"],
        "widths": config["block_out_channels"],
        "blocks_per_level": config["layers_per_block"],
        "attention_levels": [level for level, kind in enumerate(kinds) if kind],
        "further": further,
    }


def describe_folder(weights: Path) -> dict[str, Any]:
    """Return the description of the model in a folder of diffusers, as `DiffusionModel.describe` returns it.

    Args:
        weights: a file of weights in it, as `find_weights` returns it.

    Raises:
        CheckpointError: lightdiff has no such model; one line that names the file and what is wrong with it.
    """
    home = folder_of(weights)
    _check_parts(home)
    network = network_of(weights)
    places = (home / "scheduler", home)
    files = [folder / "scheduler_config.json" for folder in places if (folder / "scheduler_config.json").is_file()]
    if not files:
        raise CheckpointError(f"{home}: no scheduler/scheduler_config.json, which says the betas of the model")
    scheduler = _read(files[0], _SCHEDULER)
    prediction = PREDICTIONS[scheduler.get("prediction_type", "epsilon")]
    size = network["image_size"]
    return {
        "network": {"_target_": NETWORK, **network},
        "schedule": {
            "_target_": "lightdiff.core.DiscreteSchedule",
            "betas": _betas(scheduler),
            "zero_terminal_snr": bool(scheduler.get("rescale_betas_zero_snr")),
        },
        "prediction": {"_target_": f"lightdiff.core.{prediction.__name__}"},
        "conditioning": None,
        "objective": {"_target_": f"lightdiff.core.{OBJECTIVES[scheduler['_class_name']]}"},
        "codec": {"_target_": "lightdiff.core.PixelCodec"},
        "time_input": "timestep",
        "ema_decay": None,
        "image_shape": [network["channels"], *([size, size] if isinstance(size, int) else size)],
        "seed": 0,
    }


def _betas(scheduler: Mapping[str, Any]) -> Any:
    """Return the betas of a scheduler as plain data; the defaults are those of diffusers."""
    if scheduler.get("trained_betas") is not None:
        return scheduler["trained_betas"]
    build = BETAS[scheduler.get("beta_schedule", "linear")]
    ends = {"beta_start": scheduler.get("beta_start", 1e-4), "beta_end": scheduler.get("beta_end", 0.02)}
    return {
        "_target_": f"lightdiff.core.{build.__name__}",
        "T": scheduler["num_train_timesteps"],
        **({} if build is cosine_betas else ends),
    }


def _check_parts(home: Path) -> None:
    """Refuse a pipeline of more parts than a network and a scheduler, such as one with an autoencoder or a text encoder."""
    if not (home / "model_index.json").is_file():
        return
    index = _read(home / "model_index.json", Keys())
    others = [
        name
        for name, kind in index.items()
        if not name.startswith("_") and name not in (UNET, "scheduler") and kind not in (None, [None, None])
    ]
    if others:
        raise CheckpointError(
            f"{home / 'model_index.json'}: _class_name={shorten(index.get('_class_name'))}: a pipeline of nothing but a "
            f"unet and a scheduler is expected (DDPMPipeline, DDIMPipeline), and this one has {shorten(', '.join(others))} too"
        )


def _read(file: Path, structure: Keys) -> dict[str, Any]:
    """Return the content of a JSON file.

    Raises:
        CheckpointError: it is not readable, or its content is not as described.
    """
    try:
        check_length(file)
        content = json.loads(file.read_text(encoding="utf-8"))
        structure.check(content)
    except OSError as error:
        raise CheckpointError(f"{file}: not readable ({error.strerror})") from error
    except Misfit as error:
        raise CheckpointError(f"{file}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: garbled ({' '.join(str(error).split())[:120]})") from error
    return dict(content)
