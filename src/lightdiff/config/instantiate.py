"""Functions that build objects from plain data.

Plain data is made of dicts, lists, strings, numbers, booleans and None. `instantiate` builds a UNet from
{"_target_": "lightdiff.networks.UNet", "widths": [32, 64]}, and names the configuration key in every error. `describe.config_of`
is its inverse.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightdiff.config.hints import as_annotated, type_hints
from lightdiff.utils.text import shorten

SAFE_PACKAGES = ("core", "networks", "samplers", "conditioning")
"""Packages of lightdiff whose classes a checkpoint may name, because building one of them only computes."""


class ConfigError(ValueError):
    """The error of a setting that cannot be used. Its message is one line with the key, the value and the choices."""


def import_target(target: str) -> Callable[..., Any]:
    """Import the class or function with a dotted name, which must come from the user and never from a stranger's file.

    Raises:
        ConfigError: it cannot be imported.
    """
    if not isinstance(target, str):
        raise ConfigError(f"_target_={shorten(target)}: the dotted name of a class or function is expected")
    module_name, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        package = target.partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and error.name == package
        hint = f"; the folder that holds the package {package} has to be in PYTHONPATH" if absent else ""
        raise ConfigError(f"_target_={target}: cannot be imported ({error}){hint}") from error


def import_safe_target(target: str, packages: Sequence[str] = SAFE_PACKAGES) -> Callable[..., Any]:
    """Import the class or function with a dotted name that comes from a file.

    Raises:
        ConfigError: it is not a public name of these packages of lightdiff, or not defined there.
    """
    parts = target.split(".") if isinstance(target, str) else []
    if len(parts) == 3 and parts[0] == "lightdiff" and parts[1] in packages:
        package = importlib.import_module(f"lightdiff.{parts[1]}")
        if parts[2] in package.__all__:
            found = getattr(package, parts[2])
            if getattr(found, "__module__", "").startswith(f"lightdiff.{parts[1]}."):
                return found
    choices = ", ".join(f"lightdiff.{package}.*" for package in packages)
    raise ConfigError(
        f"_target_={target}: a file may only name the public classes of {choices}, or of a package that you name with trust="
    )


def instantiate(
    config: Any, /, *, key: str = "", importer: Callable[[str], Callable[..., Any]] = import_target, **extra: Any
) -> Any:
    """Build the object that `config` describes.

    A mapping with `_target_` becomes a call of that class or function, or a functools.partial of it with `_partial_: true`. In
    lists and other mappings every item is built.

    Args:
        config: plain data.
        key: key of `config` in the whole configuration, for messages.
        importer: function that imports a `_target_`. For data from a file use `import_safe_target`.
        extra: further arguments of the outermost call, given as objects.

    Raises:
        ConfigError: an argument is unknown or missing, has the wrong type, or is refused by the constructor.
    """
    if isinstance(config, list):
        return [instantiate(item, key=f"{key}[{i}]", importer=importer) for i, item in enumerate(config)]
    if not isinstance(config, Mapping):
        return config
    if "_target_" not in config:
        return {name: instantiate(item, key=_join(key, name), importer=importer) for name, item in config.items()}

    try:
        target = importer(config["_target_"])
    except ConfigError as error:
        raise ConfigError(_join(key, str(error))) from error
    arguments = {
        name: instantiate(item, key=_join(key, name), importer=importer)
        for name, item in config.items()
        if name not in ("_target_", "_partial_")
    }
    partial = bool(config.get("_partial_", False))
    return call(target, arguments, key=key, partial=partial, **extra)


def call(
    target: Callable[..., Any], arguments: dict[str, Any], *, key: str, partial: bool = False, **extra: Any
) -> Any:
    """Return target(**arguments, **extra), after checking the names and types of `arguments`.

    Args:
        target: class or function.
        arguments: arguments that come from the configuration.
        key: key of the arguments in the configuration, for messages.
        partial: return functools.partial(target, ...) instead of calling it.
        extra: further arguments, which are not checked.

    Raises:
        ConfigError: an argument is unknown or missing, has the wrong type, or is refused by `target`.
    """
    arguments = _checked_arguments(target, arguments, key, partial or bool(extra))
    with naming(key, arguments):
        return functools.partial(target, **arguments, **extra) if partial else target(**arguments, **extra)


@contextlib.contextmanager
def naming(key: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Turn an error inside the with block into a ConfigError of one line that names the configuration key at fault.

    This concerns ValueError, TypeError and errors of too little memory. If the message speaks of one of the settings, that one is
    named, otherwise `key`.

    Args:
        key: key of the settings in the configuration, "" for the top level.
        settings: the settings below the key, by name.

    Raises:
        ConfigError: the block raised one of these errors.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(_join(key, str(error))) from error
    except (ValueError, TypeError) as error:
        message = " ".join(str(error).split())
        if re.split(r"[=: ]", message, maxsplit=1)[0] in settings:
            raise ConfigError(_join(key, message)) from error
        name = None if re.match(r"[\w.]+=", message) else blamed(message, settings)
        where = f"{_join(key, name)}={shorten(settings[name])}" if name else key
        raise ConfigError(f"{where}: {message}" if where else message) from error
    except (RuntimeError, MemoryError, OverflowError) as error:
        if not out_of_memory(error):
            raise
        name = _largest_setting(settings)
        where = f"{_join(key, name)}={shorten(settings[name])}" if name else key
        raise ConfigError(f"{where}: too large for the memory of this machine") from error


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of the GPU or CPU is too small, also for a size that no machine has.

    torch has a class for these errors on a GPU. On a CPU they are recognised by their message.
    """
    if isinstance(error, MemoryError | OverflowError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(
        words in str(error) for words in ("DefaultCPUAllocator", "Storage size calculation", "integer multiplication")
    )


def _largest_setting(settings: Mapping[str, Any]) -> str | None:
    """Return the name of the setting with the largest integer, alone or in a list. Of equal ones it is the first."""
    lists = {name: value if isinstance(value, list | tuple) else [value] for name, value in settings.items()}
    sizes = {
        name: max((item for item in items if isinstance(item, int)), default=0)
        for name, items in lists.items()
        if name != "seed"
    }
    return max(sizes, key=lambda name: sizes[name], default=None)


def blamed(message: str, settings: Mapping[str, Any]) -> str | None:
    """Return the name of the setting that another library's message speaks of, or None.

    It is the setting whose name comes first in the message, or else the first one whose value is in the message.
    """

    def position(text: Any) -> int:
        found = re.search(rf"(?<![\w.-]){re.escape(str(text))}(?![\w-]|\.\d)", message)
        return found.start() if found else -1

    named = {name: position(name) for name in settings if position(name) >= 0}
    if named:
        return min(named, key=lambda name: named[name])
    for name, value in settings.items():
        items = value if isinstance(value, list | tuple) else [value]
        if any(
            isinstance(item, int | float | str) and item not in ("", 0, 1) and position(item) >= 0 for item in items
        ):
            return name
    return None


def _join(key: str, name: str) -> str:
    """Return the key of `name` below `key`, which may be ""."""
    return f"{key}.{name}" if key else name


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return "did you mean X? choices: X, Y, Z" for a wrong name, without the question if no choice is similar."""
    known = sorted(str(choice) for choice in choices)
    close = difflib.get_close_matches(str(name), known, n=1)
    return (f"did you mean {close[0]}? " if close else "") + "choices: " + ", ".join(known)


def _checked_arguments(
    target: Callable[..., Any], arguments: dict[str, Any], key: str, incomplete: bool
) -> dict[str, Any]:
    """Return the arguments in the types that `target` expects. If `incomplete`, some may be missing.

    Raises:
        ConfigError: an argument is unknown or missing, or has the wrong type.
    """
    signature = inspect.signature(target)
    known = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    open_ended = any(parameter.kind == parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    for name in arguments:
        if name not in known and not open_ended:
            raise ConfigError(f"{_join(key, name)}: no such key; {suggest(name, known)}")
    if not incomplete:
        for name, parameter in known.items():
            if parameter.default is parameter.empty and name not in arguments:
                raise ConfigError(f"{_join(key, name)}: a value is needed")
    hints = type_hints(target)
    return {
        name: _checked_value(value, hints[name], _join(key, name), _allows_infinity(known.get(name)))
        if name in hints
        else value
        for name, value in arguments.items()
    }


def _allows_infinity(parameter: inspect.Parameter | None) -> bool:
    """Return whether an argument accepts infinity, which it does if its default is infinite."""
    return parameter is not None and isinstance(parameter.default, float) and math.isinf(parameter.default)


def _checked_value(value: Any, hint: Any, key: str, allow_infinity: bool) -> Any:
    try:
        return as_annotated(value, hint, allow_infinity)
    except TypeError as error:
        raise ConfigError(f"{key}={shorten(value)}: {error}") from error
