"""One line for each way in which a configuration can be wrong: the key, the value, the choices."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lightdiff.utils.config import ConfigError, suggest

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Variable of the environment: 1 shows stack traces."""
ASKED = "LIGHTDIFF_FULL_ERROR"
"""What the user has set it to, while it is 1 for Hydra."""


def bad_configuration(error: BaseException, *, conf: Path, name: str) -> str | None:
    """The line for an error in the configuration `name` of the folder `conf`; None where the error is something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return str(cause)
        if isinstance(cause, MissingConfigException):
            return _missing_choice(cause, conf)
        if isinstance(cause, MissingMandatoryValue):
            key = getattr(cause, "full_key", None) or str(cause).split(":")[-1].strip()
            return f"{key}: a value is needed ({key}=...)"
        cause = cause.__cause__
    text = " ".join(str(error).split())
    if text.startswith("Config group override"):  # Hydra has a bare ValueError for dataset=null and dataset=3
        return _no_choice(conf)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    resolver = re.match(r"ConfigError raised while resolving interpolation: (.*) full_key:", text)
    if resolver is not None:
        return resolver.group(1)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not understood; write key=value, with quotes around values that hold = , or brackets"
    several = re.match(r"Ambiguous value for argument '(.*?)=(.*?)'", text)
    if several is not None:
        key, values = several.groups()
        return f"{key}={values}: several values are a sweep, which needs -m; one list is written '{key}=[{values}]'"
    twice = re.match(r"Multiple values for (\S+)\. To override a value use 'override \1: (.*?)'", text)
    if twice is not None:
        return f"+{twice.group(1)}={twice.group(2)}: this group has its place; write it without +"
    there = re.search(r"Could not append to config\. An item is already at '([^']+)'", text)
    if there is not None:
        return f"+{there.group(1)}: this key is there already; write it without +"
    unknown = re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^']+)'", text)
    if unknown is not None:
        return _unknown_key(unknown.group(1), conf, name)
    placed = re.match(r"(.*) full_key: (\S+)", text)
    return f"{placed.group(2)}: {placed.group(1)}"[:300] if placed else text[:300]


def _no_choice(conf: Path) -> str:
    for argument in sys.argv[1:]:
        group, _, choice = argument.lstrip("+~").partition("=")
        choices = [path.stem for path in (conf / group).glob("*.yaml")] if group else []
        if choices and choice not in choices:
            return f"{group}={choice}: no such choice; {suggest(choice, choices)}"
    return "a key is missing in front of ="


_PLUGINS = {
    "hydra/sweeper": "pip install 'lightdiff[sweep]' brings optuna",
    "hydra/launcher": "pip install 'lightdiff[cluster]' brings joblib and slurm",
}


def _missing_choice(error: MissingConfigException, conf: Path) -> str:
    text = " ".join(str(error).split())
    listed = re.search(r"Could not load '([^']+)'", text)  # one of a list of choices
    group, _, choice = (error.missing_cfg_file or (listed.group(1) if listed else "")).rpartition("/")
    if group in _PLUGINS:
        return f"{group}={choice}: not installed; {_PLUGINS[group]}"
    choices = error.options or [path.stem for path in (conf / group).glob("*.yaml")]
    if not group or not choices:
        return text[:300]
    return f"{group}={choice}: no such choice; {suggest(choice, choices)}"


def _unknown_key(key: str, conf: Path, name: str) -> str:
    """Name the keys that do exist beside the unknown one."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        chosen = [argument for argument in sys.argv[1:] if (conf / argument.partition("=")[0] / ".").is_dir()]
        try:
            config = compose(name, [argument.partition(",")[0] for argument in chosen if "=" in argument])
        except HydraException:
            config = compose(name)
    parent, _, last = key.lstrip("+~").rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return f"{key}: no such key; {suggest(parent.split('.')[0], [str(child) for child in config])}"
    return f"{key}: no such key; {suggest(last, [str(child) for child in node])}"
