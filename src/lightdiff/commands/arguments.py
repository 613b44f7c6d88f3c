"""What was typed behind a command, made ready for Hydra.

Hydra's grammar refuses or splits many names that folders have: umlauts, `=`, `(`, `#`, `~`, commas. Where such a value can only
be meant as text it is put into quotes, so that it just works. Choices of groups are found in any case of letters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from lightdiff.config.conf_files import choices
from lightdiff.config.instantiate import ConfigError
from lightdiff.utils.files import user_path
from lightdiff.utils.quoting import hydra_value
from lightdiff.utils.text import in_usual_case

KEY = re.compile(r"\+{0,2}[\w$][\w$@/.-]*", re.ASCII)
"""The part in front of `=`."""
GRAMMAR = re.compile(r"[][{},'\"]|\$\{")
"""Signs of a value that is more than text, such as a list with a missing bracket."""
CHOICE = re.compile(r"[^][(),'\"\s]+")
"""A name in a value, which may be one, a list, or several for a sweep."""
PATHS = ("ckpt_path", "resume", "init_from", "teacher", "data_dir", "out", "push_to", "log_dir", "cache_dir")
"""Last parts of keys whose values are paths, so that a folder may be called 007."""

ADDED = ("logger._target_",)
"""Keys that may be set although no choice of their group has them."""

WITH_VALUE = ("--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p")
"""Hydra's flags that take the next argument."""
WITHOUT_VALUE = (
    *("-m", "--multirun", "-i", "--info", "-sc", "--shell-completion", "--resolve", "--run", "-r", "--version"),
    *("--hydra-help", "-hh", "--experimental-rerun"),
)
"""Hydra's other flags."""


def is_unknown_flag(argument: str) -> bool:
    """Return whether this is a flag that Hydra does not have."""
    flag = argument.partition("=")[0]
    return flag.startswith("-") and flag not in (*WITH_VALUE, *WITHOUT_VALUE)


def split_flags(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return flags with their values, and overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in WITH_VALUE:
            flags += [argument, *islice(rest, 1)]
        else:
            (flags if argument.startswith("-") else overrides).append(argument)
    return flags, overrides


def in_usual_cases(overrides: Sequence[str]) -> list[str]:
    """Return `group=choice` arguments with each choice in the case of letters that it has: `dataset=MNIST` as `dataset=mnist`."""
    return [_in_usual_case(override) for override in overrides]


def _in_usual_case(argument: str) -> str:
    key, equals, value = argument.partition("=")
    known = choices(key.lstrip("+").partition("@")[0]) if KEY.fullmatch(key) else []
    return key + equals + CHOICE.sub(lambda name: in_usual_case(name[0], known), value)


def readable(overrides: Sequence[str], *, several: bool) -> list[str]:
    """Return `key=value` arguments with quotes around values that Hydra would not read as the text that they are.

    Args:
        overrides: arguments without flags.
        several: whether commas separate the values of a sweep (-m).
    """
    return [_readable(override, several) for override in overrides]


def _readable(argument: str, several: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or not KEY.fullmatch(key):
        return argument
    try:
        parsed = _parse([argument])[0]
    except HydraException:
        parts = value.split(",") if several else [value]
        if any(map(GRAMMAR.search, parts)) and not _exists(value):
            return argument
        return f"{key}={hydra_value(value) if _exists(value) else ','.join(map(hydra_value, parts))}"
    return f"{key}={hydra_value(value)}" if _is_misread(parsed, value, several) else argument


def _is_misread(parsed: Override, typed: str, several: bool) -> bool:
    """Return whether Hydra reads something else than the path that was typed."""
    if parsed.is_sweep_override():
        return not several and _exists(typed)
    value = parsed.value()
    if isinstance(value, int | float):
        return str(parsed.key_or_group).rpartition(".")[2] in PATHS
    return isinstance(value, str) and (value != typed or "${" in typed) and _exists(typed)


def with_added_keys(overrides: Sequence[str]) -> list[str]:
    """Return the arguments, those for keys of `ADDED` with `++` in front, by which Hydra sets a key or adds it."""
    return [f"++{override}" if override.partition("=")[0] in ADDED else override for override in overrides]


def plain_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the overrides beside `resume=` as {key: value}.

    Raises:
        ConfigError: an argument is something else than plain `key=value`.
        HydraException: an argument is not understood.
    """
    flags = [argument for argument in arguments if argument.startswith("-")]
    if flags:
        raise ConfigError(f"{flags[0]}: not possible together with resume=")
    parsed = _parse(readable(arguments, several=False))
    for override in parsed:
        if override.type is None or override.type.name != "CHANGE" or override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: only key=value is possible together with resume=")
    values = OmegaConf.create({override.key_or_group: override.value() for override in parsed})
    # resolved, because text may hold an escaped interpolation
    return {str(key): value for key, value in OmegaConf.to_container(values, resolve=True).items()}  # type: ignore[union-attr]


def _parse(arguments: list[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(arguments)


def _exists(value: str) -> bool:
    try:
        return user_path(value).exists()
    except OSError:
        # the name is too long, for one
        return False
