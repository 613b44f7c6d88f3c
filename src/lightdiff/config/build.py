"""Build the objects that a composed configuration describes: data, model, optimizer, sampler, guidance."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from lightdiff.config import speed
from lightdiff.config.classes import conditioners_of, needs_data, with_classes
from lightdiff.config.instantiate import ConfigError, call, import_target, instantiate, naming
from lightdiff.config.plain import plain
from lightdiff.config.settings import DATASET_FACTS, NEEDED
from lightdiff.config.trust import Trust
from lightdiff.core import Guidance, Objective, Prediction
from lightdiff.core.randomness import keyed_seed
from lightdiff.data import DiffSet
from lightdiff.model import DiffusionModel, load_teacher
from lightdiff.model.loading import check_describable
from lightdiff.samplers import Sampler

Importer = Callable[[str], Callable[..., Any]]

SETTINGS_OF_THE_MODEL = ("ema_decay", "time_input", "seed")


def build_model(cfg: Any, *, fused: bool | None = None) -> DiffusionModel:
    """Build the untrained model of groups model, schedule, objective, conditioning, codec, optimizer and lr_scheduler.

    Its first weights are a function of `seed`. If the objective has a teacher, that is loaded. Classes, captions and columns that
    are null in group conditioning are taken from the data set, whose files are listed for them.

    Args:
        cfg: a composed configuration, or its plain data.
        fused: whether the optimizer step is one kernel; None: as `optimizer.fused` says.

    Raises:
        ConfigError: one line with the key, the value and the choices.
    """
    config = plain(cfg)
    if "_target_" in (config.get("conditioning") or {}):
        data = build_data(config)
        config = with_classes(config, data) if needs_data(config, data) else config
    torch.manual_seed(keyed_seed("init", config["seed"]))
    settings = {name: config[name] for name in SETTINGS_OF_THE_MODEL if name in config}
    parts = {name: _build_group(config, name) for name in ("schedule", "conditioning", "codec", "lr_scheduler")}
    parts["objective"], parts["prediction"] = build_objective(config)
    parts["network"] = _build_group({**config, "model": _with_widths(config, parts["conditioning"])}, "model")
    if fused is None:
        fused = speed.fused(config, speed.precision(config).value).value
    parts["optimizer"] = build_optimizer(config, fused)
    try:
        model = call(DiffusionModel, settings, key="", **parts)
        with naming("", {**config, **config["objective"]}):
            load_teacher(model, Trust.of(config.get("trust")))
            model.objective.check_training(model.trained)
        with naming("", config):
            check_describable(model)
        return model
    except ConfigError as error:
        name = re.split("[=:.]", str(error), maxsplit=1)[0]
        # the argument of the model or part of its objective, and its key in the configuration
        keys = {"network": "model", **{part: f"objective.{part}" for part in config["objective"]}}
        raise ConfigError(keys.get(name, name) + str(error)[len(name) :]) from error


def build_objective(cfg: Any) -> tuple[Objective, Prediction | None]:
    """Build the objective of group objective; return it with the prediction that the group names, None for the usual one."""
    config = plain(cfg)
    objective = _build_group(config, "objective")
    return objective, instantiate(config["objective"].get("prediction"), key="objective.prediction")


def build_optimizer(config: dict[str, Any], fused: bool) -> Callable[[Iterable[torch.nn.Parameter]], Optimizer]:
    """Build the function that makes the optimizer of some parameters from group optimizer.

    Args:
        config: plain data.
        fused: whether the optimizer step is one kernel.

    Raises:
        ConfigError: settings that the optimizer refuses.
    """
    group = {name: value for name, value in config["optimizer"].items() if name != "fused"}
    if "_target_" not in group:
        raise ConfigError("optimizer._target_: a value is needed")
    if fused:
        # without this argument torch takes its foreach kernels where it can
        group["fused"] = True
    make = instantiate({**group, "_partial_": True}, key="optimizer")
    with naming("optimizer", group):
        # torch checks the settings when it is given a parameter
        make([torch.nn.Parameter(torch.zeros(1))])
    return make


def _build_group(config: dict[str, Any], name: str, importer: Importer = import_target) -> Any:
    """Build the object of a group; None where its choice has no `_target_` (conditioning=none)."""
    group = config.get(name)
    if group is None or "_target_" not in group:
        if name in NEEDED:
            raise ConfigError(f"{name}._target_: a value is needed")
        return None
    if name == "conditioning":
        group = _without_null_widths(group)
    return instantiate(
        {key: value for key, value in group.items() if key not in _FACTS.get(name, ())},
        key=name,
        importer=importer,
    )


_FACTS = {"dataset": DATASET_FACTS, "sampler": ("num_steps",), "objective": ("prediction",)}
"""Group -> keys that other groups read and its own class does not take."""
_WIDTHS = ("cond_dim", "token_dim", "image_channels")
"""Keys of a conditioner that networks read. Where they are null its class does not take them."""


def _without_null_widths(group: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a conditioner, and of its parts if it has any, without the widths that are null."""
    kept = {key: value for key, value in group.items() if key not in _WIDTHS or value is not None}
    if isinstance(kept.get("parts"), dict):
        kept["parts"] = {name: _without_null_widths(part) for name, part in kept["parts"].items()}
    return kept


def _with_widths(config: dict[str, Any], conditioner: Any) -> Any:
    """Return group model with the widths of the condition that no configuration says and the conditioner itself knows."""
    group, said = config["model"], config.get("conditioning") or {}
    unknown = [key for key in _WIDTHS if key in group and group[key] is None and said.get(key) is None]
    return {**group, **{key: getattr(conditioner, key, None) for key in unknown}}


def build_data(cfg: Any, *, importer: Importer = import_target) -> DiffSet:
    """Build the data set of group dataset. It is read later, by `prepare_data` and `setup`.

    Where a conditioner of group conditioning reads captions, the data set gets its templates, so that its batches have captions.

    Args:
        cfg: a composed configuration, or its plain data.
        importer: turns the names of classes into classes; `import_safe_target` with packages=["data"] for a configuration that
            comes from a file.
    """
    config = plain(cfg)
    data = _build_group(config, "dataset", importer)
    if isinstance(data, DiffSet) and any("templates" in settings for settings in conditioners_of(config)):
        data.templates = config["dataset"].get("templates")
    return data


def build_sampler(cfg: Any) -> tuple[Sampler, int | None]:
    """Build the sampler of group sampler; return it with its number of steps, None for every timestep."""
    config = plain(cfg)
    num_steps = config["sampler"].get("num_steps")
    if num_steps is not None and (not isinstance(num_steps, int) or isinstance(num_steps, bool) or num_steps < 1):
        raise ConfigError(f"sampler.num_steps={num_steps}: 1 or more steps or null (every timestep) are expected")
    return _build_group(config, "sampler"), num_steps


def build_guidance(cfg: Any) -> Guidance | None:
    """Build the guidance of group guidance; None where the configuration has none, as runs of former versions."""
    return _build_group(plain(cfg), "guidance")
