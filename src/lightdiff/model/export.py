"""Write and read models as folders for sharing: `model.safetensors` and `config.json`, formats that cannot hold code."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from lightdiff.model.content import FORMAT
from lightdiff.model.errors import CheckpointError
from lightdiff.model.format_1 import DESCRIPTION_1, renewed_model, renewed_state
from lightdiff.model.limits import check_length
from lightdiff.model.model import DiffusionModel
from lightdiff.model.sampling import Weights
from lightdiff.model.tensor_files import read_safetensors
from lightdiff.utils.files import replaced
from lightdiff.utils.former import without_range
from lightdiff.utils.structure import Misfit

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class Export:
    """The content of an exported folder.

    Args:
        model: the model's description, as `DiffusionModel.describe` returned it.
        weights: which weights were exported, "ema" or "raw".
        state: the weights of network and conditioner by name.
        dataset: the images it was trained on, as `DiffusionModel.dataset`, or None if that is unknown.
    """

    model: dict[str, Any]
    weights: Weights
    state: dict[str, Tensor]
    dataset: dict[str, Any] | None


def save_export(model: DiffusionModel, folder: Path, *, weights: Weights, half: bool = False) -> None:
    """Write a model into a folder from which `load_model` reads it.

    Args:
        model: a model as `load_model` returns it, with one set of weights.
        folder: an existing folder.
        weights: which set of weights the model holds, "ema" or "raw".
        half: write float32 weights as float16, in half the space; `load_model` turns them back into float32.

    Raises:
        OSError: the disk is full or broken; former files of an export in the folder are as they were.
    """
    # only training needs it
    later = {f"objective.{name}" for name in model.objective.later_state(model.trained)}
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
        if name not in later
    }
    if half:
        state = {name: value.half() if value.dtype == torch.float32 else value for name, value in state.items()}
    described = {"model": {**model.describe(), "ema_decay": None}, "dataset": model.dataset}
    config = {"lightdiff": {"format": FORMAT, "weights": weights, **described}}
    with replaced(folder / CONFIG) as config_file, replaced(folder / WEIGHTS) as weights_file:
        config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(state, weights_file)
        # the folder is there to be shared, but safetensors makes a file that only its owner may read
        shutil.copymode(config_file, weights_file)


def read_export(folder: Path) -> Export:
    """Return the content of an exported folder.

    Raises:
        CheckpointError: a file is missing, garbled, or not written by lightdiff.
    """
    try:
        check_length(folder / CONFIG)
        described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["lightdiff"]
        found, weights, model = (described[name] for name in ("format", "weights", "model"))
        dataset = described.get("dataset")
        if found not in (1, FORMAT) or weights not in ("ema", "raw") or not isinstance(model, dict):
            raise KeyError("format")
    except OSError as error:
        raise CheckpointError(f"{folder / CONFIG}: not readable ({error.strerror})") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: not the config.json of a model exported by lightdiff") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / CONFIG}: garbled ({' '.join(str(error).split())[:120]})") from error
    state = read_safetensors(folder / WEIGHTS)
    if found == 1:
        try:
            DESCRIPTION_1.check(model)
        except Misfit as error:
            raise CheckpointError(f"{folder / CONFIG}: {error}") from error
        model, state = renewed_model(model), renewed_state(state)
        dataset = without_range(dataset) if isinstance(dataset, dict) else dataset
    return Export(model, weights, state, dataset)
