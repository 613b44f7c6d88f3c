"""Describe objects in plain data, from which `instantiate` builds equal ones.

A checkpoint describes its model in this way. It relies on a convention: every configurable class keeps each argument of its
constructor in an attribute of the same name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lightdiff.config.instantiate import ConfigError, import_safe_target, import_target


class NotDescribable(TypeError):
    """The error of an object that plain data cannot describe; its message says what is missing."""


def config_of(thing: Any) -> Any:
    """Return plain data from which `instantiate` builds an equal object. Trained weights are not part of it.

    The class of the object, and those of all that it was built from, must be public ones of `SAFE_PACKAGES`, or come from another
    package, where they can be imported by name and keep each argument of their constructor in an attribute of the same name.

    Raises:
        NotDescribable: a class is another one.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    # a tensor, known by its method: importing torch here would make --help slow
    if hasattr(thing, "tolist"):
        if getattr(thing, "requires_grad", False):
            raise NotDescribable("trained weights are not described; no argument of a constructor can be of this kind")
        return thing.tolist()
    if isinstance(thing, Mapping):
        return {name: config_of(item) for name, item in thing.items()}
    if isinstance(thing, list | tuple):
        return [config_of(item) for item in thing]
    kind = type(thing)
    if dataclasses.is_dataclass(thing):
        names = [field.name for field in dataclasses.fields(thing) if field.init]
    else:
        parameters = inspect.signature(kind).parameters.values()
        names = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    target = _name_of(kind)
    for name in names:
        if not hasattr(thing, name):
            raise NotDescribable(
                f"{target} has no attribute {name}; keep each argument of the constructor in an attribute of its name"
            )
    return {"_target_": target, **{name: config_of(getattr(thing, name)) for name in names}}


def _name_of(kind: type) -> str:
    """Return the name by which a class can be imported.

    Raises:
        NotDescribable: there is none, or it is not a public class of lightdiff.
    """
    where = f"{kind.__module__}.{kind.__qualname__}"
    found: Callable[[str], Any]
    first, *others = kind.__module__.split(".")
    if first == "lightdiff" and others:
        name, found = f"lightdiff.{others[0]}.{kind.__name__}", import_safe_target
    elif first in ("__main__", "builtins", "torch"):
        raise NotDescribable(f"{where} lies in no package; give it a module of its own, from which it can be imported")
    else:
        name, found = where, import_target
    with contextlib.suppress(ConfigError):
        if found(name) is kind:
            return name
    raise NotDescribable(f"{where} cannot be imported by that name, or is not a configurable class of lightdiff")
