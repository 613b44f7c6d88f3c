"""Settings of runs as flat plain data, the choices of their groups in short, and where runs differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

Settings = dict[str, Any]

LONGEST_VALUE = 300
"""Characters of a setting's value on the page; a longer one is cut."""

GROUPS = ("model", "schedule", "objective", "sampler", "conditioning", "optimizer")
"""Groups whose choice is read off the names of the classes in config.yaml."""

PLAIN = (
    "DiscreteSchedule",
    "DiffusionObjective",
    "Objective",
    "UnitWeighting",
    "MSE",
    "DefaultTime",
    "UniformTime",
    "GaussianNoise",
)
"""Classes that say little about a choice, because the usual ones have them too. They are named only where nothing else is."""

SUFFIXES = ("Prediction", "Weighting", "Schedule", "Conditioner", "Time", "Noise", "Grid", "_betas")
"""Endings of class names that repeat what the group already says."""

IGNORED = (
    *("_target_", "class_names", "templates", "vocabulary", "examples"),
    *("refresh_rate", "refresh_seconds", "line_seconds", "log_dir"),
)
"""Endings of keys that are not compared: what the data set is made of is part of its name, and the others change no figure."""


def group_choices(settings: Settings) -> dict[str, str]:
    """Return the choice of each group in short, such as {"schedule": "cosine", "objective": "v", "conditioning": "none"}."""
    if not settings:
        return {}
    dataset = {"dataset": as_typed(settings["dataset.name"])} if "dataset.name" in settings else {}
    return dataset | {group: _choice(settings, group) for group in GROUPS}


def _choice(settings: Settings, group: str) -> str:
    targets = [
        as_typed(value).rpartition(".")[2]
        for key, value in settings.items()
        if key.startswith(f"{group}.") and key.endswith("_target_") and value is not None
    ]
    telling = [name for name in targets if name not in PLAIN] or targets[:1]
    return "+".join(dict.fromkeys(map(_short, telling))) or "none"


def _short(name: str) -> str:
    """Turn "FlowSchedule" into "flow" and "cosine_betas" into "cosine"."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix) or name
    return name.lower()


def differing(runs: Sequence[Settings]) -> list[str]:
    """Return the keys whose values are not the same in all of these runs, in the order in which they first appear.

    Args:
        runs: the settings of each run, or its group choices. Empty ones, of a config.yaml that cannot be read, do not count.
    """
    known = [run for run in runs if run]
    keys = dict.fromkeys(key for run in known for key in run if not key.endswith(IGNORED))
    return [key for key in keys if len({_comparable(run, key) for run in known}) > 1]


def usual(runs: Sequence[Settings]) -> Settings:
    """Return, of the keys in which these runs differ, those with a value that more than half of the runs share."""
    known = [run for run in runs if run]
    found: Settings = {}
    for key in differing(runs):
        value, count = Counter(_comparable(run, key) for run in known).most_common(1)[0]
        if value is not None and 2 * count > len(known):
            found[key] = next(run[key] for run in known if _comparable(run, key) == value)
    return found


def unusual(runs: Sequence[Settings]) -> list[Settings]:
    """Return, for each run, what is not the usual in it: the keys in which it differs from most runs, with its values."""
    keys, common = differing(runs), usual(runs)
    return [
        {key: run[key] for key in keys if key in run and _comparable(run, key) != _comparable(common, key)}
        for run in runs
    ]


def _comparable(run: Settings, key: str) -> str | None:
    # repr, because YAML also gives dates and sets, which JSON does not know
    return repr(run[key]) if key in run else None


def as_typed(value: Any) -> str:
    """Return a value as a user would type it: null, true, [32, 64], 0.001."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(as_typed, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
