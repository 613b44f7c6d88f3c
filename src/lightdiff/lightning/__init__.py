"""The diffusion model as a LightningModule, with its checkpoints, exports, weight average and learning-rate schedules."""

from lightdiff.lightning.at_hand import trained_models
from lightdiff.lightning.checkpoint import find_checkpoint, read_checkpoint
from lightdiff.lightning.checkpoint_io import AtomicCheckpointIO
from lightdiff.lightning.ema import EMA
from lightdiff.lightning.errors import CheckpointError
from lightdiff.lightning.export import save_export
from lightdiff.lightning.generation import Generation
from lightdiff.lightning.loading import load_identified, load_model, load_weights_into
from lightdiff.lightning.lr_schedules import Constant, Cosine, Linear
from lightdiff.lightning.model import DiffusionModel
from lightdiff.lightning.quiet import quiet

__all__ = [
    "EMA",
    "AtomicCheckpointIO",
    "CheckpointError",
    "Constant",
    "Cosine",
    "DiffusionModel",
    "Generation",
    "Linear",
    "find_checkpoint",
    "load_identified",
    "load_model",
    "load_weights_into",
    "quiet",
    "read_checkpoint",
    "save_export",
    "trained_models",
]
