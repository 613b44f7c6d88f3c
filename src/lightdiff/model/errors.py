"""The error that all code for model files raises."""

from __future__ import annotations

from lightdiff.config.instantiate import ConfigError


class CheckpointError(ConfigError):
    """Error about a checkpoint or exported model that is missing, broken, hostile, or not from lightdiff; one line."""
