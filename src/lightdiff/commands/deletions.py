"""Explain the errors that follow from deleting a key with ~ on the command line.

Hydra deletes such a key before interpolations are resolved. What then fails is often another key, in another group.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from lightdiff.config.conf_files import choices
from lightdiff.config.instantiate import suggest
from lightdiff.utils.nested import flatten

LINK = re.compile(r"\$\{([\w.]+)\}")
"""A value that is taken from another key."""


def deleted() -> dict[str, str]:
    """Return the dotted keys that the command line deletes, each with the argument that was typed."""
    typed = [argument for argument in sys.argv[1:] if argument.startswith("~")]
    return {argument[1:].partition("=")[0].replace("/", "."): argument for argument in typed}


def not_there_any_more(key: str) -> str | None:
    """Return the line for a key that cannot be set, because it or its group is deleted; None where that is not the cause."""
    argument = _argument_of(key)
    return argument and f"{argument}: {key} is set on the same command line; leave one of the two away"


def cannot_be_deleted(text: str, config: Mapping[str, Any]) -> str | None:
    """Return the line for a key that Hydra cannot delete although it is there; None for any other error.

    Args:
        text: Hydra's message.
        config: the configuration without the deletion, interpolations unresolved.
    """
    other = re.match(r"Could not delete from config\. The value of '([^']+)' is (.*) and not (.*?)\.?$", text)
    if other is not None:
        key, value, typed = other.groups()
        return f"~{key}={typed}: {key} is {value}; write ~{key} to delete it whatever it is"
    chosen = re.match(r"Could not delete '([^']+)'\. No match in the defaults list", text)
    if chosen is not None:
        return f"~{chosen.group(1)}: no such choice is made, so that there is nothing to delete"
    missing = re.match(r"Could not delete from config\. '([^']+)' does not exist", text)
    if missing is None or missing.group(1) not in flatten(config):
        return None
    key = missing.group(1)
    # an argument that a class of the user's own does not take has to go all the same
    otherwise = f", or give it one first, as in {key}=0 ~{key}" if "." in key else ""
    return f"~{key}: this key has no value, and only a key with a value can be deleted; leave ~{key} away{otherwise}"


def still_read(key: str, reader: str) -> str | None:
    """Return the line for a deleted key from which another one takes its value; None where the key was not deleted.

    Args:
        key: the key that is read.
        reader: the key that reads it.
    """
    argument = _argument_of(key)
    if argument is None:
        return None
    group = argument[1:]
    ways = f"choose one with {group}=...; {suggest('', choices(group))}" if choices(group) else f"set {reader} too"
    return f"{argument}: {reader} takes its value from {key}; leave {argument} away, or {ways}"


def with_cut_links(line: str, config: Mapping[str, Any]) -> str:
    """Return a line that refuses the configuration, with the deleted keys that kept the two parts in it alike.

    Args:
        line: what is wrong; it begins with a key.
        config: the configuration without the deletions, interpolations unresolved.
    """
    values = flatten(config)
    group = re.split(r"[.=:]", line, maxsplit=1)[0]
    for key, argument in deleted().items():
        link = LINK.fullmatch(str(values.get(key)))
        if link is not None and group in (key.partition(".")[0], link.group(1).partition(".")[0]):
            line += f"; {argument} has deleted the key that follows {link.group(1)}"
    return line


def _argument_of(key: str) -> str | None:
    """Return the argument that deletes a key, or a group or mapping that the key lies in; None where there is none."""
    return next((typed for name, typed in deleted().items() if key == name or key.startswith(f"{name}.")), None)
