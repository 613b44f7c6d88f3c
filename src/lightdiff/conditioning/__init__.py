"""What images are conditioned on: class labels or text."""

from lightdiff.conditioning.base import Conditioner
from lightdiff.conditioning.clip import ClipConditioner, FrozenClipConditioner
from lightdiff.conditioning.label import LabelConditioner
from lightdiff.conditioning.text import TextConditioner

__all__ = ["ClipConditioner", "Conditioner", "FrozenClipConditioner", "LabelConditioner", "TextConditioner"]
