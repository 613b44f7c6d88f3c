"""One line for each way in which a configuration can be wrong: the key, the value, the choices."""

from __future__ import annotations

import re
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lightdiff.utils.config import ConfigError, suggest


def bad_configuration(error: BaseException, *, conf: Path, name: str) -> str | None:
    """The line for an error in the configuration `name` of the folder `conf`; None where the error is something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return str(cause)
        if isinstance(cause, MissingConfigException):
            return _missing_choice(cause)
        if isinstance(cause, MissingMandatoryValue):
            key = getattr(cause, "full_key", None) or str(cause).split(":")[-1].strip()
            return f"{key}: a value is needed ({key}=...)"
        cause = cause.__cause__
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    text = " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not understood; write key=value, with quotes around values that hold = , or brackets"
    unknown = re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^']+)'", text)
    if unknown is not None:
        return _unknown_key(unknown.group(1), conf, name)
    return text[:300]


def _missing_choice(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file or "")
    group, _, choice = missing.rpartition("/")
    if not group or not error.options:
        return " ".join(str(error).split())[:300]
    return f"{group}={choice}: no such choice; {suggest(choice, error.options)}"


def _unknown_key(key: str, conf: Path, name: str) -> str:
    """Name the keys that do exist beside the unknown one."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose(name)
    parent, _, last = key.lstrip("+~").rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return f"{key}: no such key; {suggest(parent.split('.')[0], [str(child) for child in config])}"
    return f"{key}: no such key; {suggest(last, [str(child) for child in node])}"
