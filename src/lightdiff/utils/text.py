"""Text from files, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Replace every character that could move a terminal's cursor or change its colours, or that it cannot show, by "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)
