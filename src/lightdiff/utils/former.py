"""Parts of a configuration as release 0.1 wrote them, turned into today's. Plain data only."""

from __future__ import annotations

from typing import Any

OBJECTIVE = "lightdiff.core.Objective"
"""Name that the class of the objective had."""


def renewed_objective(objective: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the prediction that an objective held, and the objective without it."""
    parts = dict(objective)
    prediction = parts.pop("prediction", {"_target_": "lightdiff.core.EpsilonPrediction"})
    if parts.get("_target_") == OBJECTIVE:
        parts["_target_"] = "lightdiff.core.DiffusionObjective"
    return prediction, parts


def without_range(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a data set without the range of x0."""
    return {key: value for key, value in dataset.items() if key != "value_range"}
