"""The one error of model files."""

from __future__ import annotations

from lightdiff.utils.config import ConfigError


class CheckpointError(ConfigError):
    """A checkpoint or exported model that is missing, broken, hostile, or not one of lightdiff's. The message is one line."""
