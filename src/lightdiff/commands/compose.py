"""Compose the configuration of a command outside of a job."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from lightdiff.config.conf_files import added_folders, own_folder


def composed(command: str, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of a command as Hydra composes it, outside of a job.

    Raises:
        HydraException: an override is wrong.
    """
    GlobalHydra.instance().clear()
    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in added_folders())}]"]
    with initialize_config_dir(str(own_folder()), version_base="1.3"):
        return compose(command, [*search, *overrides])
