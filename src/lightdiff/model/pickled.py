"""Look through the pickle of a checkpoint before it is read: tuples within tuples can keep the reader busy for ever.

A tuple that holds another one twice, which holds a third one twice, and so on, takes a few bytes. As the key of a mapping it is
hashed, which visits each of them in every place where it stands.
"""

from __future__ import annotations

import pickletools
from typing import Any, NamedTuple

MAX_OPERATIONS = 5_000_000
"""Most steps that the pickle of a checkpoint may have; real ones have some ten thousand."""
MAX_DEPTH = 100
"""Most tuples that may stand within one another; in real checkpoints it is three."""


class _Tuple(NamedTuple):
    """What is known of a value on the pickle's stack; everything but a tuple counts as one value of depth 0."""

    size: int = 1
    depth: int = 0


_MARK = object()
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def check_pickle(data: bytes, max_nodes: int) -> None:
    """Refuse a pickle whose tuples hold too much. It is followed step by step; nothing in it is made or called.

    Args:
        data: the pickle.
        max_nodes: most values that a tuple may hold, with those of the tuples in it counted wherever they stand.

    Raises:
        ValueError: a tuple holds too much, or the pickle is garbled.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if count > MAX_OPERATIONS:
                raise ValueError(f"it has more than {MAX_OPERATIONS} steps")
            _follow(operation, argument, stack, memo, max_nodes)
    except (IndexError, KeyError, AttributeError) as error:
        raise ValueError("it is garbled") from error


def _follow(operation: Any, argument: Any, stack: list[Any], memo: dict[Any, Any], max_nodes: int) -> None:
    """Do to the stack and the memo what one step of the pickle does."""
    name = operation.name
    if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in _TUPLES or name == "TUPLE":
        items = _popped(stack, _TUPLES[name]) if name in _TUPLES else _popped_to_mark(stack)
        made = _Tuple(1 + sum(item.size for item in items), 1 + max((item.depth for item in items), default=0))
        if made.size > max_nodes or made.depth > MAX_DEPTH:
            raise ValueError(f"it has a tuple of more than {max_nodes} values or {MAX_DEPTH} levels")
        stack.append(made)
    else:
        taken = operation.stack_before
        if pickletools.markobject in taken:
            _popped_to_mark(stack)
            taken = taken[: taken.index(pickletools.markobject)]
        _popped(stack, len(taken))
        stack += [_MARK if item is pickletools.markobject else _Tuple() for item in operation.stack_after]


def _popped(stack: list[Any], number: int) -> list[Any]:
    """Take the last values off the stack."""
    if number > len(stack):
        raise IndexError(number)
    items = stack[len(stack) - number :]
    del stack[len(stack) - number :]
    return items


def _popped_to_mark(stack: list[Any]) -> list[Any]:
    """Take the last mark and all values after it off the stack; return the values."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items
