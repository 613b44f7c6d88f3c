"""The configuration on disk: lightdiff's own folder `conf`, and the folders that a user adds with --config-dir."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


def own_folder() -> Path:
    """Return lightdiff's own configuration: `lightdiff/conf` in an installed package, `conf` beside `src` in a clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def folders() -> list[Path]:
    """Return all folders that configurations are read from, lightdiff's own first."""
    return [own_folder(), *added_folders()]


def added_folders() -> list[Path]:
    """Return the folders that the user has added with --config-dir."""
    typed = list(_typed_folders(sys.argv[1:]))
    if typed or not HydraConfig.initialized():
        return typed
    # in a job that a launcher has started, the command line is the launcher's
    sources = HydraConfig.get().runtime.config_sources
    return [Path(source.path) for source in sources if source.provider == "command-line"]


def _typed_folders(arguments: list[str]) -> Iterator[Path]:
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            yield Path(value if equals else "".join(arguments[i + 1 : i + 2])).absolute()


def groups() -> list[str]:
    """Return the names of the configuration groups: dataset, model, ..."""
    return sorted({path.name for folder in folders() if folder.is_dir() for path in folder.iterdir() if path.is_dir()})


def choices(group: str) -> list[str]:
    """Return the names that a group offers; none where there is no such group."""
    return sorted({path.stem for folder in folders() for path in (folder / group).glob("*.yaml")}) if group else []


def written(group: str, choice: str) -> dict[str, Any]:
    """Return the content of a choice's file as it is written: without its defaults, interpolations unresolved."""
    # of two files of one name Hydra takes that of the folder which it searches first, lightdiff's own
    path = next(path for folder in folders() if (path := folder / group / f"{choice}.yaml").is_file())
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def composed(command: str, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of a command as Hydra composes it, outside of a job.

    Raises:
        HydraException: an override is wrong.
    """
    GlobalHydra.instance().clear()
    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in added_folders())}]"]
    with initialize_config_dir(str(own_folder()), version_base="1.3"):
        return compose(command, [*search, *overrides])


def plain(cfg: Any) -> dict[str, Any]:
    """Return a composed configuration as resolved plain data; plain data stays as it is."""
    data = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True) if OmegaConf.is_config(cfg) else cfg
    assert isinstance(data, dict)
    return data  # type: ignore[return-value]
