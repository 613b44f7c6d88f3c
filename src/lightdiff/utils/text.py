"""Text from files, made fit for a terminal."""

from __future__ import annotations

import unicodedata

UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that move a terminal's cursor, begin a line, or stand for a byte of a name that is no UTF-8."""


def printable(text: str) -> str:
    """Replace every character that could move a terminal's cursor or change its colours, or that it cannot show, by "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)


def escaped(text: str) -> str:
    """Replace every character that no file in UTF-8 can hold, or that begins a line or moves a cursor, by its number.

    The byte 0xff in the name of a file, for example, becomes "\\udcff". Different names stay different.
    """
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in UNSHOWN else character
        for character in text
    )
