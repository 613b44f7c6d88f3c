"""What images are conditioned on: class labels, and later text."""

from lightdiff.conditioning.base import Conditioner
from lightdiff.conditioning.label import LabelConditioner

__all__ = ["Conditioner", "LabelConditioner"]
