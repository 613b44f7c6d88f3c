"""What is fixed for every contender: the data, the samples and their cost."""

from __future__ import annotations

from pathlib import Path

VERSION = 1
"""Of the protocol. Figures of different versions do not compare."""
ROOT = Path(__file__).resolve().parent.parent.parent
SIZES = {"mnist": 28, "fashion": 28, "cifar": 32}
"""Data sets of the race, and the side of their images as they are stored, at which all samples are judged."""
CHANNELS = {"mnist": 1, "fashion": 1, "cifar": 3}
EVALUATIONS = 20
"""Evaluations of its network that a contender may use for an image."""
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
"""Of the minutes: when a snapshot is put aside, unless --at says otherwise."""
