"""Names and text from files: fit for a terminal, and in the order that people expect."""

from __future__ import annotations

import re
from collections.abc import Sequence


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


def listed(names: Sequence[str], most: int = 30) -> str:
    """Return the first names, at most so many, separated by commas, and how many there are in all if that is not all."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
