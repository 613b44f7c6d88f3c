"""Read checkpoints and load models from them, so that a stranger's file runs no code."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from lightdiff.conditioning.clip_encoder import nothing_fetched
from lightdiff.lightning.content import DESCRIPTION, MODEL
from lightdiff.lightning.errors import CheckpointError
from lightdiff.lightning.export import WEIGHTS, read_export
from lightdiff.lightning.format_1 import renew
from lightdiff.lightning.limits import check_archive, check_fit, check_size
from lightdiff.lightning.model import DiffusionModel
from lightdiff.lightning.sampling import Weights
from lightdiff.utils.config import import_safe_target, instantiate, shorten
from lightdiff.utils.files import sha256_of, user_path
from lightdiff.utils.structure import Keys, Misfit, Structure
from lightdiff.utils.text import listed

DATA = "DiffSet"
"""Key of a checkpoint under which Lightning puts what a `DiffSet` remembers of its images; unchecked here."""


def find_checkpoint(path: str | Path) -> Path:
    """Return the file with the weights that `path` stands for.

    Args:
        path: a checkpoint (returned as it is), a run folder (its `checkpoints/last.ckpt`), or an exported folder (its weights).

    Raises:
        CheckpointError: there is no such file or folder, or the folder holds neither.
    """
    path = user_path(path)
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint or run folder")
    last = path / "checkpoints" / "last.ckpt"
    for file in (last, path / WEIGHTS):
        if file.is_file():
            return file
    found = sorted(path.glob("checkpoints/*.ckpt"))
    there = f"; there: {', '.join(str(file) for file in found)}" if found else ""
    raise CheckpointError(f"{path}: this folder has no checkpoints/last.ckpt{there}")


def read_checkpoint(path: str | Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint, which may hold tensors and plain data only.

    Args:
        path: as for `find_checkpoint`.
        map_location: device to load the tensors to, as for `torch.load`.

    Raises:
        CheckpointError: the file is missing, truncated, garbled, holds code, or was not written by lightdiff.
    """
    return _read(find_checkpoint(path), map_location)[0]


def _read(file: Path, map_location: Any, *, hashed: bool = False) -> tuple[dict[str, Any], str | None]:
    """Return the content of a checkpoint and, if `hashed`, its SHA-256, from a file that is opened once."""
    try:
        with file.open("rb") as opened:
            check_archive(opened)
            opened.seek(0)
            checkpoint = torch.load(opened, map_location=map_location, weights_only=True)
            sha256 = sha256_of(opened) if hashed else None
        check_size(checkpoint)
    except ValueError as error:
        raise CheckpointError(f"{file}: not loaded, {' '.join(str(error).split())[:120]}") from error
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no pickle"
        raise CheckpointError(
            f"{file}: not loaded, it is garbled or holds more than weights ({reason[:120]})"
        ) from error
    # a garbled pickle may fail in any way
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{file}: a broken checkpoint ({type(error).__name__}: {reason})") from error
    if not isinstance(checkpoint, dict) or "lightdiff" not in checkpoint:
        raise CheckpointError(f"{file}: not a checkpoint of lightdiff")
    with _naming(file):
        renew(checkpoint)
        MODEL.check(checkpoint)
    return checkpoint, sha256


def check_content(structure: Structure, checkpoint: dict[str, Any], file: Path) -> None:
    """Check the content of a checkpoint.

    Raises:
        CheckpointError: it is not as described; one line with the file and the field.
    """
    with _naming(file):
        structure.check(checkpoint)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn a Misfit of the block into a CheckpointError that names the file."""
    try:
        yield
    except Misfit as error:
        raise CheckpointError(f"{file}: {error}") from error


def model_from_config(
    description: dict[str, Any], network: nn.Module | None = None, kind: type[DiffusionModel] = DiffusionModel
) -> DiffusionModel:
    """Build the untrained model that `DiffusionModel.describe` has described.

    Args:
        description: the description; it may name classes on the allow-list only (see `import_safe_target`).
        network: the network to use instead of the described one.
        kind: class of the model, which takes the arguments of `DiffusionModel`.

    Raises:
        CheckpointError: the description leaves the network out and none is given.
    """
    parts = dict(description)
    settings = {name: parts.pop(name) for name in ("ema_decay", "time_input", "image_shape", "seed")}
    own = parts.pop("network")
    if network is None and own is None:
        raise CheckpointError(
            "network: this checkpoint's network is not one of lightdiff's; pass load_model(..., network=...)"
        )
    with nothing_fetched():
        if network is None:
            network = instantiate(own, key="network", importer=import_safe_target)
        objects = {name: instantiate(part, key=name, importer=import_safe_target) for name, part in parts.items()}
    return kind(network, **objects, **settings)


@contextmanager
def _unaffected() -> Iterator[None]:
    """Build models on the CPU and in float32, whatever the process has set as its defaults, with no trace in its randomness."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def _check_weights(description: dict[str, Any], state: dict[str, Any], network: nn.Module | None) -> None:
    """Refuse weights that do not fit the description before memory is taken for the model.

    Network and conditioner are built on the device "meta", where tensors have shapes and no content.

    Args:
        description: as for `model_from_config`.
        state: the weights.
        network: as for `model_from_config`; its weights are there already and are not checked.
    """
    names = (
        {"conditioning": "conditioner"}
        if network is not None
        else {"network": "network", "conditioning": "conditioner"}
    )
    with nothing_fetched(), torch.device("meta"):
        parts = {
            f"trained.{owned}": instantiate(description[name], key=name, importer=import_safe_target)
            for name, owned in names.items()
        }
    weights = {
        f"{name}.{entry}": weight
        for name, part in parts.items()
        if isinstance(part, nn.Module)
        for entry, weight in part.state_dict().items()
    }
    check_fit(weights, state)


class _Content(NamedTuple):
    """What a checkpoint or an exported folder holds of a model.

    Args:
        model, dataset: the descriptions of the model and of its data set.
        state: the state dict.
        identity: as `load_identified` returns it.
    """

    model: Any
    dataset: Any
    state: Any
    identity: dict[str, Any]


def _content(file: Path, weights: Weights, map_location: Any, *, hashed: bool) -> _Content:
    """Read a checkpoint or an exported folder."""
    if file.name != WEIGHTS:
        checkpoint, sha256 = _read(file, map_location, hashed=hashed)
        described = checkpoint["lightdiff"]
        identity = {"sha256": sha256, "step": checkpoint.get("global_step"), "epoch": checkpoint.get("epoch")}
        identity["data"] = checkpoint.get(DATA)
        return _Content(described["model"], described.get("dataset"), checkpoint["state_dict"], identity)
    export = read_export(file.parent)
    if weights == "raw" and export.weights == "ema":
        raise CheckpointError(f"weights=raw: {file} holds the averaged weights; choices: ema")
    with file.open("rb") as opened:
        identity = {"sha256": sha256_of(opened) if hashed else None, "step": None, "epoch": None, "data": None}
    return _Content(export.model, export.dataset, export.state, identity)


def load_model(
    path: str | Path, *, weights: Weights = "ema", map_location: Any = "cpu", network: nn.Module | None = None
) -> DiffusionModel:
    """Load a trained model for sampling, without Hydra, without the internet and without running code from the file.

    Args:
        path: a checkpoint, a run folder (its `checkpoints/last.ckpt`), or a folder that export.py made.
        weights: "ema" (the averaged weights if the run has them, else the raw ones) or "raw".
        map_location: device to load to, as for `torch.load`.
        network: an instance to load the weights into; needed only for a network class from outside lightdiff.

    Returns:
        The model in eval mode, without a second copy of the weights.

    Raises:
        ValueError: `weights` is neither "ema" nor "raw".
        CheckpointError: the file is missing, broken, hostile, or not from lightdiff, or its weights do not fit.
    """
    return load(path, weights, map_location, network)[0]


def load_identified(
    path: str | Path, *, weights: Weights = "ema", map_location: Any = "cpu"
) -> tuple[DiffusionModel, dict[str, Any]]:
    """Load a trained model as `load_model` does, and say exactly which weights it has.

    Args:
        path, weights, map_location: as for `load_model`.

    Returns:
        The model, and the SHA-256 of the file that was read, with its step and epoch and what it holds of the data it was
        trained on (None for an exported model): sha256, step, epoch, data. The file is opened once, so that they belong together
        even while a training replaces it.
    """
    return load(path, weights, map_location, hashed=True)


def load(
    path: str | Path,
    weights: Weights,
    map_location: Any,
    network: nn.Module | None = None,
    *,
    kind: type[DiffusionModel] = DiffusionModel,
    hashed: bool = False,
) -> tuple[DiffusionModel, dict[str, Any]]:
    """Load a trained model as an instance of `kind`, and say which weights it has; see `load_model`, `load_identified`."""
    if weights not in ("ema", "raw"):
        raise ValueError(f"weights={weights}: choices: ema, raw")
    try:
        description, dataset, state, identity = _content(find_checkpoint(path), weights, map_location, hashed=hashed)
        check_content(Keys(model=DESCRIPTION), {"model": description}, Path(path))
        with _unaffected():
            _check_weights(description, state, network)
            model = model_from_config(description, network, kind)
        model.load_state_dict(state)
        model.trained.load_state_dict(model.denoiser_of(weights).state_dict())
    except CheckpointError:
        raise
    # building the model that a file describes may fail in any way
    except Exception as error:
        raise CheckpointError(f"{path}: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(dataset, dict | None):
        raise CheckpointError(f"{path}: dataset={shorten(dataset)}: a mapping is expected")
    model.dataset = dataset
    model.ema = None
    return model.to(map_location if isinstance(map_location, str | torch.device) else "cpu").eval(), identity


def load_weights_into(model: DiffusionModel, path: str | Path, *, weights: Weights = "ema") -> None:
    """Copy a trained model's weights into `model` for fine-tuning; everything else of `model` stays as it is.

    Args:
        model: the model to change.
        path: the trained model, as for `load_model`.
        weights: which of its weights to copy, as for `load_model`.

    Raises:
        CheckpointError: the trained model cannot be loaded, or a weight does not fit; the message names the first such weight.
    """
    try:
        source = load_model(path, weights=weights)
    except CheckpointError as error:
        raise CheckpointError(f"init_from={error}") from error
    if source.class_names != model.class_names and sorted(source.class_names) == sorted(model.class_names):
        raise CheckpointError(
            f"init_from={path}: its labels are numbered in another order, {listed(source.class_names)}; give "
            "dataset.class_names in that order"
        )
    theirs, ours = source.trained.state_dict(), model.trained.state_dict()
    if not any(name.startswith("conditioner.") for name in ours):
        # an unconditional model goes on without the conditioner that it does not have
        theirs = {name: weight for name, weight in theirs.items() if not name.startswith("conditioner.")}
    for name in dict.fromkeys([*ours, *theirs]):
        left, right = theirs.get(name), ours.get(name)
        if left is None or right is None or left.shape != right.shape:
            shapes = [None if tensor is None else list(tensor.shape) for tensor in (left, right)]
            raise CheckpointError(
                f"init_from={path}: {name} is {shapes[0]} there and {shapes[1]} in this model; choose the network of that run "
                "(model=..., or its experiment=...)"
            )
    model.trained.load_state_dict(theirs)
