"""Load models from checkpoints and exported folders, so that a stranger's file runs no code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from lightdiff.conditioning.clip_encoder import nothing_fetched
from lightdiff.config.describe import NotDescribable, config_of
from lightdiff.config.extras import targets
from lightdiff.config.instantiate import instantiate
from lightdiff.config.trust import NOBODY, Trust, is_own
from lightdiff.model.checkpoint import DATA, check_content, find_checkpoint, read
from lightdiff.model.content import DESCRIPTION
from lightdiff.model.description import described
from lightdiff.model.diffusers_folder import describe_folder
from lightdiff.model.diffusers_weights import files_of, hash_of_files, read_weights
from lightdiff.model.errors import CheckpointError
from lightdiff.model.export import WEIGHTS, read_export
from lightdiff.model.limits import check_fit
from lightdiff.model.model import DiffusionModel
from lightdiff.model.sampling import Weights, check_weights
from lightdiff.utils.files import sha256_of
from lightdiff.utils.structure import Keys
from lightdiff.utils.text import shorten
from lightdiff.utils.weight_files import STEM


def model_from_config(
    description: dict[str, Any],
    network: nn.Module | None = None,
    kind: type[DiffusionModel] = DiffusionModel,
    trust: Trust = NOBODY,
) -> DiffusionModel:
    """Build the untrained model that `DiffusionModel.describe` has described.

    Args:
        description: the description.
        network: the network to use instead of the described one.
        kind: class of the model, which takes the arguments of `DiffusionModel`.
        trust: whose classes the description may name beside lightdiff's own public ones.

    Raises:
        CheckpointError: the description leaves the network out and none is given.
    """
    parts = dict(description)
    settings = {name: parts.pop(name) for name in ("ema_decay", "time_input", "image_shape", "seed")}
    own = parts.pop("network")
    if network is None and own is None:
        raise CheckpointError(
            "network: this checkpoint does not describe its network, whose class lies in no package; pass "
            "load_model(..., network=...)"
        )
    importer = trust.importer()
    with nothing_fetched():
        if network is None:
            network = instantiate(own, key="network", importer=importer)
        objects = {name: instantiate(part, key=name, importer=importer) for name, part in parts.items()}
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


def _check_weights(description: dict[str, Any], state: dict[str, Any], network: nn.Module | None, trust: Trust) -> None:
    """Refuse weights that do not fit the description before memory is taken for the model.

    Network and conditioner are built on the device "meta", where tensors have shapes and no content.

    Args:
        description: as for `model_from_config`.
        state: the weights.
        network, trust: as for `model_from_config`; the weights of a given network are there already and are not checked.
    """
    names = (
        {"conditioning": "conditioner"}
        if network is not None
        else {"network": "network", "conditioning": "conditioner"}
    )
    with nothing_fetched(), torch.device("meta"):
        parts = {
            f"trained.{owned}": instantiate(description[name], key=name, importer=trust.importer())
            for name, owned in names.items()
        }
    weights = {
        f"{name}.{entry}": weight
        for name, part in parts.items()
        if isinstance(part, nn.Module)
        for entry, weight in part.state_dict().items()
    }
    check_fit(weights, state)


def check_describable(model: DiffusionModel) -> None:
    """Check that a checkpoint of the model will load, by building an equal one from its description.

    Both are compared by their descriptions and by the names and shapes of their weights. Parts of lightdiff need no such check.

    Args:
        model: the model that is about to be trained, with parts from packages that the user has named.

    Raises:
        ValueError: a part has no description, or its description builds another one; one line that names it.
    """
    parts = {
        "network": model.network,
        "conditioning": model.conditioning,
        "schedule": model.schedule,
        "prediction": model.trained.prediction,
        "objective": model.objective,
        "codec": model.codec,
    }
    for name, part in parts.items():
        try:
            description = described(name, part)
        except NotDescribable as error:
            raise ValueError(str(error)) from error
        if all(is_own(target) for _, target in targets(description)):
            continue
        with nothing_fetched(), torch.device("meta" if isinstance(part, nn.Module) else "cpu"):
            again = instantiate(description, key=name)
        same = config_of(again) == description
        if same and isinstance(part, nn.Module):
            shapes = [{entry: value.shape for entry, value in module.state_dict().items()} for module in (part, again)]
            same = shapes[0] == shapes[1]
        if not same:
            raise ValueError(
                f"{name}={type(part).__name__}: its checkpoint would build another one, because an attribute with the name of an "
                "argument of the constructor does not hold that argument"
            )


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
    """Read a checkpoint, an exported folder or a folder of diffusers."""
    if file.name.startswith(STEM):
        return _content_of_diffusers(file, hashed=hashed)
    if file.name != WEIGHTS:
        checkpoint, sha256 = read(file, map_location, hashed=hashed)
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


def _content_of_diffusers(file: Path, *, hashed: bool) -> _Content:
    """Read a folder of diffusers."""
    description, weights = describe_folder(file), read_weights(file)
    network = description["network"]
    if network["blocks_per_level"] * len(network["widths"]) > len(weights):
        raise CheckpointError(f"{file}: {len(weights)} weights, too few for the blocks that its config.json describes")
    identity: dict[str, Any] = {"sha256": hash_of_files(files_of(file)) if hashed else None}
    state = {f"trained.network.unet.{name}": weight for name, weight in weights.items()}
    return _Content(description, None, state, {**identity, "step": None, "epoch": None, "data": None})


def load_model(
    path: str | Path,
    *,
    weights: Weights = "ema",
    map_location: Any = "cpu",
    network: nn.Module | None = None,
    trust: str | Iterable[str] = (),
) -> DiffusionModel:
    """Load a trained model for sampling, without Hydra, without the internet and without running code from the file.

    Args:
        path: a checkpoint, a run folder (its `checkpoints/last.ckpt`), a folder that export.py made, or a folder of diffusers
            with an unconditional UNet2DModel and its scheduler.
        weights: "ema" (the averaged weights if the run has them, else the raw ones) or "raw".
        map_location: device to load to, as for `torch.load`.
        network: an instance to load the weights into; needed only for a network whose class lies in no package.
        trust: names of packages, such as "mylab", whose classes the file may name beside lightdiff's own. They are imported, and
            their code runs.

    Returns:
        The model in eval mode, without a second copy of the weights.

    Raises:
        ValueError: `weights` is neither "ema" nor "raw", or `trust` holds something else than names.
        CheckpointError: the file is missing, broken, hostile, or not from lightdiff, or its weights do not fit.
    """
    return load(path, weights, map_location, network, trust=Trust.of(trust))[0]


def load_identified(
    path: str | Path, *, weights: Weights = "ema", map_location: Any = "cpu", trust: Trust = NOBODY
) -> tuple[DiffusionModel, dict[str, Any]]:
    """Load a trained model as `load_model` does, and say exactly which weights it has.

    Args:
        path, weights, map_location: as for `load_model`.
        trust: whose classes the file may name beside lightdiff's own.

    Returns:
        The model, and the SHA-256 of the file that was read, with its step and epoch and what it holds of the data it was
        trained on (None for an exported model): sha256, step, epoch, data. The file is opened once, so that they belong together
        even while a training replaces it.
    """
    return load(path, weights, map_location, hashed=True, trust=trust)


def load(
    path: str | Path,
    weights: Weights,
    map_location: Any,
    network: nn.Module | None = None,
    *,
    kind: type[DiffusionModel] = DiffusionModel,
    hashed: bool = False,
    trust: Trust = NOBODY,
) -> tuple[DiffusionModel, dict[str, Any]]:
    """Load a trained model as an instance of `kind`, and say which weights it has; see `load_model`, `load_identified`."""
    check_weights(weights)
    try:
        description, dataset, state, identity = _content(find_checkpoint(path), weights, map_location, hashed=hashed)
        check_content(Keys(model=DESCRIPTION), {"model": description}, Path(path))
        with _unaffected():
            _check_weights(description, state, network, trust)
            model = model_from_config(description, network, kind, trust)
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
