"""Write settings and words of a command so that they can be pasted into a shell and mean what was meant.

A value passes two grammars: that of the shell, and behind it that of Hydra's overrides, in which `=`, commas, brackets, letters
beyond ASCII and much else mean something or are not allowed.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from lightdiff.utils.files import shown

PLAIN = re.compile(r"\.{1,2}|[A-Za-z_][\w.-]*|[\w./-]*/[\w./-]*", re.ASCII)
"""Text that Hydra reads as itself."""
NO_TEXT = ("null", "true", "false", "inf", "nan")
"""Words in any case that Hydra reads as something other than text."""


def setting(key: str, value: str | Path) -> str:
    """Return `key=value` as it is typed in a shell, so that the command gets exactly this text.

    Args:
        key: the configuration key.
        value: text, or a path, which is shown relative to the working directory if it lies inside.
    """
    return word(f"{key}={hydra_value(path_text(value) if isinstance(value, Path) else value)}")


def word(text: str) -> str:
    """Return a word of a command as it is typed in a shell, all of it printable characters.

    Characters that a terminal cannot show are written as the bytes of a file's name in $'...', which bash and zsh read.
    """
    if all(_can_be_shown(character) for character in text):
        return shlex.quote(text)
    return "$'{}'".format("".join(map(_escaped, text)))


def hydra_value(text: str) -> str:
    """Return text as Hydra's grammar has it behind `key=`: as it is where that means the same, else in double quotes."""
    if PLAIN.fullmatch(text) and text.casefold() not in NO_TEXT:
        return text
    # ${...} would be replaced by the value of a key
    text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    # only backslashes in front of a quote are escapes
    return '"{}"'.format(re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + found[2].replace('"', r"\""), text))


def path_text(path: Path) -> str:
    """Return a path as a user would type it; one that begins like a home folder or a flag gets ./ in front."""
    text = shown(path)
    return f"./{text}" if text.startswith(("~", "-")) else text


def _can_be_shown(character: str) -> bool:
    try:
        character.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return character.isprintable()


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return character if _can_be_shown(character) else "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
