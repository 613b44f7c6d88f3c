"""Check a composed configuration beyond what each class checks of its own arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import yaml
from pytorch_lightning import Trainer

from lightdiff.config.conf_files import choices, groups, own_folder, written
from lightdiff.config.instantiate import ConfigError, call, suggest
from lightdiff.config.trust import Trust
from lightdiff.data import DiffSet
from lightdiff.model import DiffusionModel
from lightdiff.utils.text import shorten

Auto = Literal["auto", True, False]
Range = tuple[Callable[[Any], bool], str]

NEEDED = ("dataset", "model", "schedule", "objective", "sampler", "optimizer", "trainer")
"""Groups without which nothing can be trained; the others may be empty."""

_LIMIT: Range = (lambda value: value == -1 or value >= 1, "1 or more, or -1 (no limit), is expected")
COUNT: Range = (lambda value: value >= 1, "1 or more is expected")
SEED: Range = (lambda value: 0 <= value < 2**32, "a whole number from 0 to 4294967295 is expected")
SHARE: Range = (lambda value: 0 < value <= 1, "a number in (0, 1] or null (all) is expected")

TRAINER_RANGES: dict[str, Range] = {
    "max_epochs": _LIMIT,
    "max_steps": _LIMIT,
    "accumulate_grad_batches": COUNT,
    "log_every_n_steps": COUNT,
    "check_val_every_n_epoch": COUNT,
    "gradient_clip_val": (lambda value: 0 < value < math.inf, "a positive number or null (no clipping) is expected"),
    "num_nodes": COUNT,
    "num_sanity_val_steps": (lambda value: value >= -1, "0 or more, or -1 (all), is expected"),
    "limit_train_batches": (
        lambda value: value > 0,
        "a share in (0, 1], a number of batches or null (all) is expected",
    ),
}
"""Ranges of arguments for which Lightning accepts senseless values, and then divides by them, trains nothing or ignores them."""


@dataclass(frozen=True)
class TrainSettings:
    """The keys at the top of train.yaml that are no groups. `DiffusionModel` checks those that are its arguments."""

    seed: int
    init_from: str | None = None
    init_weights: Literal["ema", "raw"] = "ema"
    log_dir: str = "lightning_logs"
    optimized_metric: str | None = None
    auto_resume: bool = False
    on_nonfinite: Literal["stop", "skip"] = "stop"
    ddp_timeout: float = 600
    gpu_memory_fraction: float | None = None
    trust: Sequence[str] = ()
    compile: Auto = "auto"
    channels_last: Auto = "auto"

    def __post_init__(self) -> None:
        Trust.of(self.trust)
        check_ranges("", vars(self), {"seed": SEED, "gpu_memory_fraction": SHARE})


@dataclass(frozen=True)
class DatasetFacts:
    """The keys of group dataset that other groups read and the data set does not take."""

    templates: Sequence[str] | None
    unpadded_size: int | Sequence[int] | None


DATASET_FACTS = tuple(DatasetFacts.__dataclass_fields__)


def check_groups(config: Mapping[str, Any], needed: Iterable[str]) -> None:
    """Refuse a group that holds anything but its settings.

    Args:
        config: the configuration, which may come from a file.
        needed: groups that must be there; all others may be missing or null.

    Raises:
        ConfigError: one line with the group and what it holds.
    """
    for group in needed:
        if config.get(group) is None:
            raise ConfigError(f"{group}: this group is needed")
    for group in groups():
        found = config.get(group)
        if found is not None and not isinstance(found, Mapping):
            raise ConfigError(
                f"{group}={shorten(found)}: the settings of this group are expected, as {group}=... with one of these "
                f"composes them: {', '.join(choices(group))}"
            )


def check_settings(config: Mapping[str, Any]) -> TrainSettings:
    """Refuse impossible values at the top of a configuration, and missing groups; return the values at the top.

    Raises:
        ConfigError: one line with the key, the value, the choices.
    """
    check_groups(config, NEEDED)
    names = TrainSettings.__dataclass_fields__
    settings = call(TrainSettings, {name: config[name] for name in names if name in config}, key="")
    call(DatasetFacts, {name: config["dataset"].get(name) for name in DATASET_FACTS}, key="dataset")
    check_trainer(config["trainer"], config["dataset"].get("batch_size"))
    return settings


def check_trainer(trainer: dict[str, Any], batch_size: Any) -> None:
    """Refuse values that Lightning's Trainer accepts and cannot use. What it refuses itself shows when it is built.

    Args:
        trainer: its arguments.
        batch_size: the global one.
    """
    given = {name: value for name, value in trainer.items() if (name, value) != ("precision", "auto")}  # ours to settle
    call(Trainer, given, key="trainer", partial=True)
    check_ranges("trainer", trainer, TRAINER_RANGES)
    check_accelerator(trainer.get("accelerator", "auto"))
    for name in ("devices", "num_nodes"):
        number = trainer.get(name, 1)
        if name == "devices" and isinstance(number, int) and number < 1 and number != -1:
            raise ConfigError(f"trainer.devices={number}: 1 or more, a list, or auto is expected")
        if isinstance(number, int) and isinstance(batch_size, int) and number > max(1, batch_size):
            raise ConfigError(
                f"trainer.{name}={number}: more than the {batch_size} images of a batch (dataset.batch_size)"
            )


def check_accelerator(name: str) -> None:
    """Refuse what is no accelerator, and a GPU where torch finds none.

    Raises:
        ConfigError: one line with the key, the value and what to choose instead.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    found = {"auto": True, "cpu": True, "gpu": cuda or mps, "cuda": cuda, "mps": mps}
    if name not in found:
        raise ConfigError(f"trainer.accelerator={name}: {suggest(name, found)}")
    if not found[name]:
        # a file without an accelerator of its own takes what there is
        fitting = [
            choice
            for choice in choices("trainer")
            if found.get(str(written("trainer", choice).get("accelerator")), True)
        ]
        raise ConfigError(
            f"trainer.accelerator={name}: torch finds no such device here; choices: trainer={', '.join(fitting)}"
        )


def check_known(config: Iterable[str], command: str) -> None:
    """Reject top-level keys that nothing reads: added with + or in an experiment.

    Args:
        config: the keys.
        command: whose YAML file has the known ones beside the groups.

    Raises:
        ConfigError: one line with the key and the choices.
    """
    own = yaml.safe_load((own_folder() / f"{command}.yaml").read_text(encoding="utf-8"))
    known = {*own, *groups()} - {"defaults", "hydra"}
    for key in config:
        if key not in known:
            raise ConfigError(f"{key}: no such key; {suggest(key, known)}")


def check_ranges(key: str, settings: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Refuse numbers out of their range. Other types are left to the check of types."""
    for name, (fits, expected) in ranges.items():
        value = settings.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not fits(value):
            raise ConfigError(f"{key}.{name}={value}: {expected}" if key else f"{name}={value}: {expected}")


def check_fit(model: DiffusionModel, data: DiffSet) -> None:
    """Refuse a model made for other images, or for fewer classes, than the data set has.

    Args:
        model: the model.
        data: the data set, set up.
    """
    shape = model.codec.shape((data.channels, *data.image_size))
    if tuple(model.image_shape) != shape:
        theirs, ours = ("x".join(map(str, sizes)) for sizes in (shape, model.image_shape))
        raise ConfigError(
            f"model: made for images of {ours} (channels, height, width), but those of the data set are {theirs}; "
            "change dataset.channels and dataset.image_size, which the model follows"
        )
    classes = getattr(model.conditioning, "num_classes", None)
    if classes is not None and classes < len(data.class_names):
        raise ConfigError(f"conditioning.num_classes={classes}: the data set has {len(data.class_names)} classes")
