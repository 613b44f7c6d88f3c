"""Plain data to objects and back.

`instantiate` turns {"_target_": "lightdiff.networks.UNet", "widths": [32, 64]} into that object and names the configuration
key in every error. `config_of` is its inverse: every configurable class keeps each constructor argument under an attribute of
the same name, so that a checkpoint can describe the model it holds in plain data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightdiff.utils.hints import as_annotated, type_hints

SAFE_PACKAGES = ("core", "networks", "samplers", "conditioning")
"""Packages of lightdiff whose classes a checkpoint may name: building one computes, and does nothing else."""


class ConfigError(ValueError):
    """A setting that cannot be used. The message is one line: the key, the value, the choices."""


class NotDescribable(TypeError):
    """An object that plain data cannot describe, because it is not one of lightdiff's configurable classes."""


def import_target(target: str) -> Callable[..., Any]:
    """Import the class or function behind a dotted name. Only for configuration the user wrote, never for a file's."""
    if not isinstance(target, str):
        raise ConfigError(f"_target_={shorten(target)}: the dotted name of a class or function is expected")
    module_name, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"_target_={target}: cannot be imported ({error})") from error


def import_safe_target(target: str, packages: Sequence[str] = SAFE_PACKAGES) -> Callable[..., Any]:
    """Import a name that comes from a file: a public name of these packages of lightdiff, defined there, or ConfigError."""
    parts = target.split(".") if isinstance(target, str) else []
    if len(parts) == 3 and parts[0] == "lightdiff" and parts[1] in packages:
        package = importlib.import_module(f"lightdiff.{parts[1]}")
        if parts[2] in package.__all__:
            found = getattr(package, parts[2])
            if getattr(found, "__module__", "").startswith(f"lightdiff.{parts[1]}."):
                return found
    choices = ", ".join(f"lightdiff.{package}.*" for package in packages)
    raise ConfigError(f"_target_={target}: a file may only name the public classes of {choices}")


def instantiate(
    config: Any, /, *, key: str = "", importer: Callable[[str], Callable[..., Any]] = import_target, **extra: Any
) -> Any:
    """Build the object that `config` describes.

    Mappings with `_target_` become calls, with `_partial_: true` functools.partial; lists and other mappings are walked through.

    Args:
        config: plain data (dict, list, str, number, bool, None).
        key: where it stands in the configuration, for messages.
        importer: turns a `_target_` into a callable; `import_safe_target` for data out of a file.
        extra: further arguments of the outermost call, given as objects.

    Raises:
        ConfigError: an unknown or missing argument, a value of the wrong type, or one the constructor refuses.
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
    """`target(**arguments, **extra)` with names and types of `arguments` checked first; errors name `key`."""
    arguments = _checked_arguments(target, arguments, key, partial or bool(extra))
    with naming(key, arguments):
        return functools.partial(target, **arguments, **extra) if partial else target(**arguments, **extra)


@contextlib.contextmanager
def naming(key: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """A value refused within becomes a ConfigError in one line that names `key`.

    Args:
        key: where the settings stand in the configuration; "" for the top level.
        settings: what stands below the key; a message that speaks of one of them names that one.
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
    """Of a GPU or of a CPU, for which torch has no class of its own; also a size that no machine has."""
    if isinstance(error, MemoryError | OverflowError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(
        words in str(error) for words in ("DefaultCPUAllocator", "Storage size calculation", "integer multiplication")
    )


def _largest_setting(settings: Mapping[str, Any]) -> str | None:
    """The setting with the largest whole number, or a list of some; of several equal ones the first."""
    lists = {name: value if isinstance(value, list | tuple) else [value] for name, value in settings.items()}
    sizes = {
        name: max((item for item in items if isinstance(item, int)), default=0)
        for name, items in lists.items()
        if name != "seed"
    }
    return max(sizes, key=lambda name: sizes[name], default=None)


def blamed(message: str, settings: Mapping[str, Any]) -> str | None:
    """The setting that another library's message speaks of: the first named in it, else one whose value is in it."""

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
    return f"{key}.{name}" if key else name


def suggest(name: str, choices: Iterable[str]) -> str:
    """`; did you mean X?` where a choice is close, then all choices."""
    known = sorted(str(choice) for choice in choices)
    close = difflib.get_close_matches(str(name), known, n=1)
    return (f"did you mean {close[0]}? " if close else "") + "choices: " + ", ".join(known)


def _checked_arguments(
    target: Callable[..., Any], arguments: dict[str, Any], key: str, incomplete: bool
) -> dict[str, Any]:
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
        name: _checked_value(value, hints[name], _join(key, name), _endless(known.get(name)))
        if name in hints
        else value
        for name, value in arguments.items()
    }


def _endless(parameter: inspect.Parameter | None) -> bool:
    """Whether infinity is a value of this argument: it is its default."""
    return parameter is not None and isinstance(parameter.default, float) and math.isinf(parameter.default)


def _checked_value(value: Any, hint: Any, key: str, endless: bool) -> Any:
    try:
        return as_annotated(value, hint, endless)
    except TypeError as error:
        raise ConfigError(f"{key}={shorten(value)}: {error}") from error


def shorten(value: Any, length: int = 60) -> str:
    """The value as one short line."""
    text = "null" if value is None else " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def config_of(thing: Any) -> Any:
    """Plain data from which `instantiate` rebuilds an equal object (weights aside).

    Raises:
        NotDescribable: the object, or one it was built from, is not a public class of `SAFE_PACKAGES`.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if hasattr(thing, "tolist"):  # a tensor; this module does not import torch, so that --help answers at once
        return thing.tolist()
    if isinstance(thing, Mapping):
        return {name: config_of(item) for name, item in thing.items()}
    if isinstance(thing, list | tuple):
        return [config_of(item) for item in thing]
    kind = type(thing)
    parts = kind.__module__.split(".")
    target = f"lightdiff.{parts[1]}.{kind.__name__}" if parts[0] == "lightdiff" and len(parts) > 1 else kind.__name__
    try:
        public = import_safe_target(target) is kind
    except ConfigError:
        public = False
    if not public:
        raise NotDescribable(f"{kind.__module__}.{kind.__qualname__} is not a configurable class of lightdiff")
    if dataclasses.is_dataclass(thing):
        names = [field.name for field in dataclasses.fields(thing) if field.init]
    else:
        names = list(inspect.signature(kind).parameters)
    return {"_target_": target, **{name: config_of(getattr(thing, name)) for name in names}}
