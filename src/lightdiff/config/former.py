"""Read the configuration of a run of a former release as this one would have composed it."""

from __future__ import annotations

from typing import Any

from lightdiff.utils.former import OBJECTIVE, renewed_objective, without_range


def renewed(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with the keys of this release.

    Before release 0.2 the range of x0 was a key of group dataset, which is group codec today, the class of every objective was
    `lightdiff.core.Objective`, and package `lightdiff.model` was called `lightdiff.lightning`.
    """
    config = _renamed(config)
    dataset, objective = config.get("dataset"), config.get("objective")
    if isinstance(dataset, dict) and "value_range" in dataset and "codec" not in config:
        codec = {"_target_": "lightdiff.core.PixelCodec", "value_range": dataset["value_range"]}
        config = {**config, "dataset": without_range(dataset), "codec": codec}
    if isinstance(objective, dict) and objective.get("_target_") == OBJECTIVE:
        prediction, others = renewed_objective(objective)
        config = {**config, "objective": {**others, "prediction": prediction}}
    return config


def _renamed(data: Any) -> Any:
    """Return plain data with the names of classes as they are today."""
    if isinstance(data, dict):
        return {key: _target(value) if key == "_target_" else _renamed(value) for key, value in data.items()}
    return [_renamed(item) for item in data] if isinstance(data, list) else data


def _target(name: Any) -> Any:
    old = "lightdiff.lightning."
    return f"lightdiff.model.{name.removeprefix(old)}" if isinstance(name, str) and name.startswith(old) else name
