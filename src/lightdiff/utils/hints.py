"""Types of arguments: what a constructor's annotations say, compared with values out of YAML."""

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
    """Annotations of a callable's arguments, as far as they can be evaluated."""
    function = target.__init__ if inspect.isclass(target) and not dataclasses.is_dataclass(target) else target
    try:  # a dataclass itself: its inherited fields are annotated in other modules
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def as_annotated(value: Any, hint: Any, endless: bool = False) -> Any:
    """The value as an argument of this type: a list may become a tuple.

    Args:
        value: plain data, or an object made of it.
        hint: the annotation.
        endless: infinity is a number here.

    Raises:
        TypeError: it does not fit; the message says what is expected.
    """
    candidates = [value, tuple(value)] if isinstance(value, list) else [value]
    for candidate in candidates:
        try:
            if not _is_meant(candidate, hint, endless):
                break
            typeguard.check_type(candidate, hint, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS)
            return candidate
        except typeguard.TypeCheckError:
            continue
    raise TypeError(f"{describe(hint)} is expected")


def _is_meant(value: Any, hint: Any, endless: bool) -> bool:
    """Whether what Python takes for this type is meant by it: text is no list, true no number, NaN and (mostly) infinity none."""
    if isinstance(value, bool):
        return _admits_bool(hint)
    if isinstance(value, str):
        return _admits_text(hint)
    return not isinstance(value, float) or math.isfinite(value) or (endless and not math.isnan(value))


def _admits_text(hint: Any) -> bool:
    """Text is not a list of its letters, though Python's str is a sequence."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_admits_text(member) for member in typing.get_args(hint))
    return typing.get_origin(hint) is not Sequence and hint is not type(None)


def _admits_bool(hint: Any) -> bool:
    """A YAML `true` is not a number, though Python's bool is an int."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_admits_bool(member) for member in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return any(isinstance(member, bool) for member in typing.get_args(hint))
    return hint not in (int, float, str, type(None))


def describe(hint: Any) -> str:
    """A type hint in words a user of YAML understands."""
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
