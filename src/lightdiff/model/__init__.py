"""The diffusion model as a LightningModule, with its checkpoints, exports, weight average and learning-rate schedules."""

from lightdiff.model.at_hand import trained_models
from lightdiff.model.checkpoint import find_checkpoint, read_checkpoint
from lightdiff.model.checkpoint_io import AtomicCheckpointIO
from lightdiff.model.conditions import conditioned_like, example_of, pictured
from lightdiff.model.ema import EMA
from lightdiff.model.errors import CheckpointError
from lightdiff.model.export import save_export
from lightdiff.model.generation import NEVER_WITHOUT, Generation
from lightdiff.model.loading import load_identified, load_model
from lightdiff.model.lr_schedules import Constant, Cosine, Linear
from lightdiff.model.model import DiffusionModel
from lightdiff.model.muon import Muon
from lightdiff.model.quiet import quiet
from lightdiff.model.takeover import check_same_teacher, load_teacher, load_weights_into

__all__ = [
    "EMA",
    "NEVER_WITHOUT",
    "AtomicCheckpointIO",
    "CheckpointError",
    "Constant",
    "Cosine",
    "DiffusionModel",
    "Generation",
    "Linear",
    "Muon",
    "check_same_teacher",
    "conditioned_like",
    "example_of",
    "find_checkpoint",
    "load_identified",
    "load_model",
    "load_teacher",
    "load_weights_into",
    "pictured",
    "quiet",
    "read_checkpoint",
    "save_export",
    "trained_models",
]
