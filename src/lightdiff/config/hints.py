"""Checks of values from YAML against the type annotations of a constructor's arguments."""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import typeguard


def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable's arguments by name, or {} if they cannot be evaluated."""
    function = target.__init__ if inspect.isclass(target) and not dataclasses.is_dataclass(target) else target
    try:
        # for a dataclass the hints of the class are read: inherited fields are annotated in the modules of their classes
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def as_annotated(value: Any, hint: Any, allow_infinity: bool = False) -> Any:
    """Return a value that fits an annotation: the value itself, or a tuple instead of a list.

    Args:
        value: plain data, or an object made of it.
        hint: the annotation.
        allow_infinity: whether infinity is accepted as a number.

    Raises:
        TypeError: the value does not fit. The message says what is expected.
    """
    candidates = [value, tuple(value)] if isinstance(value, list) else [value]
    for candidate in candidates:
        try:
            if not _admits(candidate, hint, allow_infinity):
                break
            typeguard.check_type(candidate, hint, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS)
            return candidate
        except typeguard.TypeCheckError:
            continue
    raise TypeError(f"{describe(hint)} is expected")


def _admits(value: Any, hint: Any, allow_infinity: bool) -> bool:
    """Return whether a user of YAML would take the value for this type.

    Python's types say yes too often: text is a sequence there, true is an int, and NaN and infinity are floats.
    """
    if isinstance(value, bool):
        return _admits_bool(hint)
    if isinstance(value, str):
        return _admits_text(hint)
    return not isinstance(value, float) or math.isfinite(value) or (allow_infinity and not math.isnan(value))


def _admits_text(hint: Any) -> bool:
    """Return whether text fits the hint. It does not fit a list, although Python's str is a sequence."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_admits_text(member) for member in typing.get_args(hint))
    return typing.get_origin(hint) is not Sequence and hint is not type(None)


def _admits_bool(hint: Any) -> bool:
    """Return whether true and false fit the hint. They do not fit a number, although Python's bool is an int."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_admits_bool(member) for member in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return any(isinstance(member, bool) for member in typing.get_args(hint))
    return hint not in (int, float, str, type(None))


def describe(hint: Any) -> str:
    """Return a type hint in the words of YAML, such as "int or null" or "one of a, b"."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        words = [word for member in members if typing.get_origin(member) is typing.Literal for word in member.__args__]
        others = [member for member in members if typing.get_origin(member) is not typing.Literal]
        literal = [describe(typing.Literal[tuple(dict.fromkeys(words))])] if words else []
        return " or ".join(literal + [name for name in map(describe, others) if name != "Tensor"])
    if origin is typing.Literal:
        return "one of " + ", ".join(dict.fromkeys(str(member) for member in members))
    if hint is type(None):
        return "null"
    if origin is Callable:
        return "a mapping with a _target_"
    if origin is not None and members:
        return f"a list of {describe(members[0]).replace('one of', 'any of')}"
    return getattr(hint, "__name__", str(hint)).replace("typing.", "")
