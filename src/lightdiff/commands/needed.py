"""Refuse what needs an extra that is not installed, before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lightdiff.config.extras import LOGGERS, missing_extra, require
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.run_config import CONFIG, read_config
from lightdiff.utils.files import user_path
from lightdiff.utils.weight_files import is_of_diffusers

EXPORTED = "config.json"


def check_extras(cfg: DictConfig) -> None:
    """Check the extras that a composed configuration needs.

    Raises:
        MissingExtra: one line with what was asked for, the extra, and the command that installs it.
    """
    # unresolved, so that a value that is still missing does not hide a package that is missing as well
    config: Any = OmegaConf.to_container(cfg, resolve=False)
    chosen = HydraConfig.get().runtime.choices
    for key, name, extra in missing_extra(config):
        require(extra, _choice(key, chosen) or f"{key}={name}")
    for name in LOGGERS:
        if name in (config.get("logger") or {}):
            require(name, f"logger={name}")
    if config.get("format") == "diffusers":
        require("diffusers", "format=diffusers")
    paths = {key: config.get(key) for key in ("ckpt_path", "init_from")}
    if isinstance(config.get("objective"), dict):
        paths["objective.teacher"] = config["objective"].get("teacher")
    if isinstance(config.get("guidance"), dict):
        paths["guidance.weak"] = config["guidance"].get("weak")
    for key, path in paths.items():
        if isinstance(path, str):
            check_checkpoint_extras(key, path)


def _choice(key: str, chosen: Mapping[str, str]) -> str | None:
    """Return the choice of a group that put a key into the configuration, as it is typed; None for a key of no group.

    Args:
        key: the dotted key.
        chosen: group, or group@package -> its choice.
    """
    packages = {group.rpartition("@")[2]: group for group in chosen}
    while key:
        if key in packages:
            return f"{packages[key]}={chosen[packages[key]]}"
        key = key.rpartition(".")[0]
    return None


def check_checkpoint_extras(key: str, path: str) -> None:
    """Check the extras that a checkpoint's model needs, as far as a file beside the checkpoint describes it.

    Args:
        key: the key that names the checkpoint.
        path: a checkpoint, a run folder, or a folder that export.py made.

    Raises:
        MissingExtra: see `check_extras`.
    """
    for where, name, extra in missing_extra(_description(user_path(path))):
        require(extra, f"{key}={path}: {where}={name}")


def _description(path: Path) -> dict[str, Any]:
    """Return the parts of the model as plain data; nothing where no readable file describes them."""
    folder = path if path.is_dir() else path.parent
    if is_of_diffusers(path):
        return {"network": {"_target_": "lightdiff.networks.DiffusersUNet2D"}}
    try:
        if (folder / EXPORTED).is_file():
            described = json.loads((folder / EXPORTED).read_text(encoding="utf-8"))["lightdiff"]["model"]
            return dict(described)
        run = folder if (folder / CONFIG).is_file() else folder.parent
        config = read_config(run) if (run / CONFIG).is_file() else {}
        return {name: config.get(name) for name in ("model", "conditioning")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError):
        # whoever loads the checkpoint says what is wrong with it
        return {}
