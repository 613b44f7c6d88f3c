"""Say which key was meant where the one that was typed does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from lightdiff.config.instantiate import suggest
from lightdiff.utils.nested import flatten

MOST = 3
"""Keys that a message offers at most."""


def no_such_key(key: str, config: Mapping[str, Any]) -> str:
    """Return a line that names the keys of the same name in other places, or else those beside the unknown one.

    Args:
        key: the dotted key.
        config: the whole configuration as plain data; interpolations need not be resolved.
    """
    *parents, last = key.split(".")
    beside, missing = config, last
    for parent in parents:
        below = beside.get(parent)
        if not isinstance(below, Mapping):
            missing = parent
            break
        beside = below
    close = difflib.get_close_matches(last, map(str, config), n=1)
    paths = [path.split(".") for path in flatten(config)]
    elsewhere = [] if close and not parents else [path for path in paths if path[-1] == last]
    if elsewhere:
        # what lies in the same group first, then the shortest: dataset.batch_size, not callbacks.evaluation.batch_size
        elsewhere.sort(key=lambda path: ([path[0]] != parents[:1], len(path), path))
        return f"{key}: no such key; did you mean {' or '.join('.'.join(path) for path in elsewhere[:MOST])}?"
    where = key if missing == last else ".".join(parents[: parents.index(missing) + 1])
    return f"{where}: no such key; {suggest(missing, beside)}"
