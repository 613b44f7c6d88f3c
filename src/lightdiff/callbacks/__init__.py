"""What happens beside training: curves, samples, checkpoints, interruption, the record of the run."""

from lightdiff.callbacks.checkpoints import Checkpoints
from lightdiff.callbacks.curves import Curves
from lightdiff.callbacks.data import ShowData
from lightdiff.callbacks.evaluation import EvaluateSamples
from lightdiff.callbacks.nonfinite import GuardNonFinite, NonFiniteError
from lightdiff.callbacks.plots import PlotLoss, PlotSchedule
from lightdiff.callbacks.predictions import ShowPredictions
from lightdiff.callbacks.progress import ProgressBar
from lightdiff.callbacks.record import RunRecord
from lightdiff.callbacks.samples import SampleImages
from lightdiff.callbacks.signals import SaveOnSignal
from lightdiff.callbacks.validation import ValidateAtEnd

__all__ = [
    "Checkpoints",
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
