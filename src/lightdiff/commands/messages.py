"""One line for each way in which a configuration can be wrong: the key, the value, the choices."""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from lightdiff.commands.arguments import KEY
from lightdiff.commands.compose import composed
from lightdiff.commands.deletions import cannot_be_deleted, deleted, not_there_any_more, still_read, with_cut_links
from lightdiff.commands.suggestions import no_such_key
from lightdiff.config.conf_files import added_folders, choices, groups
from lightdiff.config.extras import MissingExtra, require
from lightdiff.config.instantiate import ConfigError, suggest
from lightdiff.utils.files import causes, user_path
from lightdiff.utils.quoting import setting, word

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Variable of the environment: 1 shows stack traces."""
ASKED = "LIGHTDIFF_FULL_ERROR"
"""Variable of the environment: the user's own value of FULL_ERROR, which is set to 1 while Hydra runs."""
CHECKPOINT_KEY = {"train": "resume"}
"""Command -> the key that takes a run folder or checkpoint; ckpt_path for all others."""


def bad_configuration(error: BaseException, command: str) -> str | None:
    """Return the line for an error in the configuration of a command; None where the error is something else."""
    for cause in causes(error):
        if isinstance(cause, ConfigError):
            return with_cut_links(str(cause), _unresolved(command)) if deleted() else str(cause)
        if isinstance(cause, MissingConfigException):
            return _missing_choice(cause)
        absent = re.match(r"Interpolation key '([^']+)' not found\s+full_key: (\S+)", str(cause))
        read = still_read(*absent.groups()) if absent else None
        if read is not None:
            return read
        if isinstance(cause, MissingMandatoryValue):
            key = getattr(cause, "full_key", None) or str(cause).split(":")[-1].strip()
            return f"{key}: a value is needed ({key}=...)"
    text = " ".join(str(error).split())
    # Hydra has a bare ValueError for dataset=null and dataset=3, and stumbles over dataset=[1]
    if text.startswith("Config group override") or (isinstance(error, TypeError) and _raised_by_hydra(error)):
        return _no_choice()
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    resolver = re.match(r"ConfigError raised while resolving interpolation: (.*) full_key:", text)
    if resolver is not None:
        return resolver.group(1)
    if isinstance(error, OverrideParseException):
        return _not_understood(str(error.override), command)
    several = re.match(r"Ambiguous value for argument '(.*?)=(.*?)'", text)
    if several is not None:
        key, values = several.groups()
        return (
            f"{key}={values}: several values are a sweep, which needs -m; one list is written {word(f'{key}=[{values}]')}, "
            f"one text {setting(key, values)}"
        )
    twice = re.match(r"Multiple values for (\S+)\. To override a value use 'override \1: (.*?)'", text)
    if twice is not None:
        return f"+{twice.group(1)}={twice.group(2)}: this group has its place; write it without +"
    there = re.search(r"Could not append to config\. An item is already at '([^']+)'", text)
    if there is not None:
        return f"+{there.group(1)}: this key is there already; write it without +"
    kept = cannot_be_deleted(text, _unresolved(command)) if text.startswith("Could not delete") else None
    if kept is not None:
        return kept
    unknown = re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^']+)'", text)
    if unknown is not None:
        key = unknown.group(1).lstrip("+~")
        gone = not_there_any_more(key) if text.startswith("Could not override") else None
        if gone is not None:
            return gone
        if choices(key):
            expected = f"one of its choices is expected, and single settings as in {key}.name=value"
            return f"{key}: {expected}; {suggest('', choices(key))}"
        return no_such_key(key, _unresolved(command))
    placed = re.match(r"(.*) full_key: (\S+)", text)
    return f"{placed.group(2)}: {placed.group(1)}"[:300] if placed else text[:300]


def before_a_job(error: Exception) -> ConfigError:
    """Return the error that says what kept Hydra from starting a job: a folder that cannot be made, a file that is no YAML.

    Args:
        error: OSError, YAMLError or UnicodeDecodeError that Hydra has raised outside of a job.
    """
    if isinstance(error, OSError):
        return ConfigError(f"hydra.run.dir: no folder can be made at {error.filename} ({error.strerror})")
    folders = ", ".join(map(str, added_folders()))
    return ConfigError(f"--config-dir {folders}: a file is not valid YAML ({' '.join(str(error).split())[:200]})")


def _not_understood(override: str, command: str) -> str:
    """Explain an argument that is no override; a path is one where the key in front of it has been forgotten."""
    key, equals, value = override.partition("=")
    if equals and KEY.fullmatch(key):
        return f"{override}: not understood; if {value} is meant as text, write {setting(key, value)}"
    path_key = CHECKPOINT_KEY.get(command, "ckpt_path")
    if not equals and (command != "train" or user_path(override).exists() or override.endswith(".ckpt")):
        return f"{override}: a key is missing in front of this path; write {setting(path_key, override)}"
    return f"{override}: not understood; write key=value"


def _no_choice() -> str:
    for argument in sys.argv[1:]:
        group, _, choice = argument.lstrip("+~").partition("=")
        known = choices(group)
        names = [name.strip() for name in choice.removeprefix("[").removesuffix("]").split(",")]
        unknown = [name for name in names if name not in known]
        if known and unknown:
            return f"{group}={choice}: no such choice; {suggest(unknown[0], known)}"
    return "a key is missing in front of ="


def _raised_by_hydra(error: BaseException) -> bool:
    """Return whether an error was raised by code of Hydra's."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("hydra.")


_PLUGINS = {
    "hydra/sweeper": ("sweep", ("hparams_search", "hydra/sweeper")),
    "hydra/launcher": ("cluster", ("launcher", "hydra/launcher")),
}
"""Hydra's group -> the extra that brings its plugins, and the groups by which a user asks for one."""


def _missing_choice(error: MissingConfigException) -> str:
    text = " ".join(str(error).split())
    # one of a list of choices
    listed = re.search(r"Could not load '([^']+)'", text)
    group, _, choice = (error.missing_cfg_file or (listed.group(1) if listed else "")).rpartition("/")
    if group in _PLUGINS:
        extra, keys = _PLUGINS[group]
        typed = [argument for argument in sys.argv[1:] if argument.partition("=")[0] in keys]
        try:
            require(extra, typed[0] if typed else f"{group}={choice}")
        except MissingExtra as missing:
            return str(missing)
    known = error.options or choices(group)
    if not group or not known:
        return text[:300]
    return f"{group}={choice}: no such choice; {suggest(choice, known)}"


def _unresolved(command: str) -> dict[str, Any]:
    """Return the configuration of a command with the choices of groups that were typed, where that can be composed.

    Interpolations stay as they are written, because they need not resolve here.
    """
    chosen = [argument for argument in sys.argv[1:] if argument.partition("=")[0] in groups()]
    try:
        found = composed(command, [argument.partition(",")[0] for argument in chosen if "=" in argument])
    except HydraException:
        found = composed(command, [])
    config: Any = OmegaConf.to_container(found, resolve=False)
    return dict(config)
