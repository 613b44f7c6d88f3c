"""Names and text from files: fit for a terminal, and in the order that people expect."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that move a terminal's cursor, begin a line, or stand for a byte of a name that is no UTF-8."""


def printable(text: str) -> str:
    """Replace every character that could move a terminal's cursor or change its colours, or that it cannot show, by "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)


def natural_order(text: str) -> tuple[list[str | int], str]:
    """Return a key for sorting that puts numbers in a text in the order of their values: 2 before 10, img2 before img10.

    Letters are in the order of their code points, as `sorted` alone has them.
    """
    # letters and numbers take turns, so that only like is compared with like
    parts = re.split("([0-9]+)", text)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], text


def in_usual_case(name: str, names: Iterable[str]) -> str:
    """Return the one of `names` that differs from `name` in the case of its letters alone, such as mnist for MNIST.

    `name` itself is returned if it is among them, and if none of them or several are like it.
    """
    alike = [other for other in names if other.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else name


def listed(names: Sequence[str], most: int = 30) -> str:
    """Return the first names, at most so many, separated by commas, and how many there are in all if that is not all."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def escaped(text: str) -> str:
    """Replace every character that no file in UTF-8 can hold, or that begins a line or moves a cursor, by its number.

    The byte 0xff in the name of a file, for example, becomes "\\udcff". Different names stay different.
    """
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in UNSHOWN else character
        for character in text
    )


def shorten(value: Any, length: int = 60) -> str:
    """Return the value as one line of text, cut to `length` characters; None is written as null, as in YAML."""
    text = "null" if value is None else " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 3] + "..."
