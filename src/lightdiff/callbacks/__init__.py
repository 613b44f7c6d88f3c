"""Callbacks: curves, samples, checkpoints, interruption, the record of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightdiff.callbacks.checkpoints import Checkpoints
from lightdiff.callbacks.curves import Curves
from lightdiff.callbacks.data import ShowData
from lightdiff.callbacks.few_steps import CompareSteps
from lightdiff.callbacks.nonfinite import GuardNonFinite, NonFiniteError
from lightdiff.callbacks.plots import PlotLoss, PlotSchedule
from lightdiff.callbacks.predictions import ShowPredictions
from lightdiff.callbacks.progress import ProgressBar
from lightdiff.callbacks.record import RunRecord
from lightdiff.callbacks.samples import SampleImages
from lightdiff.callbacks.signals import SaveOnSignal
from lightdiff.callbacks.validation import ValidateAtEnd

if TYPE_CHECKING:
    from lightdiff.callbacks.evaluation import EvaluateSamples

__all__ = [
    "Checkpoints",
    "CompareSteps",
    "Curves",
    "EvaluateSamples",
    "GuardNonFinite",
    "NonFiniteError",
    "PlotLoss",
    "PlotSchedule",
    "ProgressBar",
    "RunRecord",
    "SampleImages",
    "SaveOnSignal",
    "ShowData",
    "ShowPredictions",
    "ValidateAtEnd",
]


def __getattr__(name: str) -> Any:
    # metrics take seconds to import: only where samples are measured
    if name == "EvaluateSamples":
        from lightdiff.callbacks.evaluation import EvaluateSamples

        return EvaluateSamples
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
