"""Text made fit for the name of a file."""

from __future__ import annotations

import unicodedata

RESERVED = frozenset('<>:"/\\|?*')
"""Characters that names of files cannot have, on one system or another."""
LONGEST_NAME = 100
"""Bytes of a part of a file's name; most systems take names of 255 bytes."""


def file_name(text: str) -> str:
    """Return text as a part of a file's name: every character that some system does not take becomes "_".

    Letters of all scripts stay. What is longer than `LONGEST_NAME` bytes is cut.
    """
    fit = (
        character if character.isprintable() and character not in RESERVED else "_"
        for character in unicodedata.normalize("NFC", text.strip())
    )
    short = "".join(fit).encode()[:LONGEST_NAME].decode(errors="ignore")
    # Windows takes away dots and spaces at the end
    return short.rstrip(". ") or "_"
