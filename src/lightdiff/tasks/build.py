"""The name of release 0.1 for `lightdiff.config.build`."""

from lightdiff.config.build import build_data, build_model

__all__ = ["build_data", "build_model"]
