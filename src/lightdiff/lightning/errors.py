"""The error that all code for model files raises."""

from __future__ import annotations

from lightdiff.utils.config import ConfigError


class CheckpointError(ConfigError):
    """A checkpoint or exported model is missing, broken, hostile, or not from lightdiff. The message is one line."""
