"""Structures: descriptions of nested plain data out of a file, and the check of data against them.

RESULT = Keys(epochs=COUNT, metrics=Every(NUMBER))
RESULT.check({"epochs": -1, "metrics": {}})          # Misfit: epochs=-1: a whole number, 0 or more, is expected
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightdiff.utils.text import shorten

LARGEST_COUNT = 2**53
"""Largest whole number that JSON, YAML and float64 all keep exactly; no run counts as far."""


class Misfit(ValueError):
    """Error of data that are not as described: one line with the path of the first misfit and with what is expected there."""


class Structure(ABC):
    """Description of a value and of all in it."""

    @abstractmethod
    def check(self, value: Any, path: str = "") -> None:
        """Check a value.

        Args:
            value: plain data, or tensors where the structure has them.
            path: where the value stands, as in `loops.fit_loop`; "" for the outermost.

        Raises:
            Misfit: the value is another.
        """

    def fits(self, value: Any) -> bool:
        """Return whether the value is as described."""
        try:
            self.check(value)
        except Misfit:
            return False
        return True


@dataclass(frozen=True)
class Leaf(Structure):
    """A single value.

    Args:
        test: whether a value is right.
        expected: the right values in words.
    """

    test: Callable[[Any], bool]
    expected: str

    def check(self, value: Any, path: str = "") -> None:
        if not self.test(value):
            raise Misfit(f"{_described(value, path)}: {self.expected} is expected")


class Keys(Structure):
    """A mapping that has these keys. It may have others too.

    Args:
        needed: keys by name in a mapping, for names that are no words of Python.
        words: keys by name.
    """

    def __init__(self, needed: Mapping[str, Structure] | None = None, /, **words: Structure) -> None:
        self.needed = {**(needed or {}), **words}

    def check(self, value: Any, path: str = "") -> None:
        if not isinstance(value, Mapping):
            raise Misfit(f"{_described(value, path)}: a mapping is expected")
        for name, structure in self.needed.items():
            if name in value:
                structure.check(value[name], joined(path, name))
            elif not isinstance(structure, Optional):
                raise Misfit(f"{joined(path, name)}: missing")


@dataclass(frozen=True)
class Optional(Structure):
    """A value of `Keys` that may be missing."""

    inner: Structure

    def check(self, value: Any, path: str = "") -> None:
        self.inner.check(value, path)


@dataclass(frozen=True)
class Nullable(Structure):
    """A value that may be null."""

    inner: Structure

    def check(self, value: Any, path: str = "") -> None:
        if value is not None:
            self.inner.check(value, path)


@dataclass(frozen=True)
class Every(Structure):
    """A mapping from any names to values of one structure."""

    item: Structure

    def check(self, value: Any, path: str = "") -> None:
        Keys().check(value, path)
        for name, item in value.items():
            TEXT.check(name, joined(path, "a name"))
            self.item.check(item, joined(path, name))


@dataclass(frozen=True)
class Items(Structure):
    """A list of values of one structure.

    Args:
        item: their structure.
        length: how many there are, or None for any number.
    """

    item: Structure
    length: int | None = None

    def check(self, value: Any, path: str = "") -> None:
        if not isinstance(value, list | tuple):
            raise Misfit(f"{_described(value, path)}: a list is expected")
        if self.length is not None and len(value) != self.length:
            raise Misfit(f"{path}: it has {len(value)} entries, {self.length} are expected")
        for i, item in enumerate(value):
            self.item.check(item, f"{path}[{i}]")


@dataclass(frozen=True)
class Pair(Structure):
    """A list of two values, each of its own structure."""

    first: Structure
    second: Structure

    def check(self, value: Any, path: str = "") -> None:
        Items(ANYTHING, length=2).check(value, path)
        self.first.check(value[0], f"{path}[0]")
        self.second.check(value[1], f"{path}[1]")


def joined(path: str, name: Any) -> str:
    """Return the path of `name` below `path`, which may be ""."""
    return f"{path}.{shorten(name)}" if path else shorten(name)


def _described(value: Any, path: str) -> str:
    """Return the path with the value, or with the value's type if it could be long."""
    plain = value is None or isinstance(value, bool | int | float | str)
    found = f"={shorten(value)}" if plain else f": {type(value).__name__} found"
    return f"{path}{found}".removeprefix("=").removeprefix(": ")


def is_number(value: Any) -> bool:
    """Return whether a value is an int or a float; true and false are no numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Return whether a value is a number of the range of float64, neither NaN nor infinite."""
    # Python's whole numbers have no largest one
    return is_number(value) and (isinstance(value, float) or abs(value) < 2**1023) and math.isfinite(value)


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number from 0 to `LARGEST_COUNT`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT


COUNT = Leaf(is_count, "a whole number, 0 or more,")
FINITE = Leaf(is_finite, "a finite number")
NUMBER = Leaf(lambda value: isinstance(value, float) or is_finite(value), "a number")
TEXT = Leaf(lambda value: isinstance(value, str), "text")
BOOLEAN = Leaf(lambda value: isinstance(value, bool), "true or false")
ANYTHING = Leaf(lambda value: True, "anything")
MAPPING = Keys()


def alike(template: Any) -> Structure:
    """Return the structure of values that have the keys, lengths and types of a template; empty lists and null fit anything."""
    if isinstance(template, Mapping):
        return Keys({name: alike(item) for name, item in template.items()})
    if isinstance(template, list | tuple):
        return Items(alike(template[0]), len(template)) if template else Items(ANYTHING)
    kinds = {bool: BOOLEAN, int: COUNT, float: NUMBER, str: TEXT}
    return kinds.get(type(template), ANYTHING)
