"""Optional packages: which part of lightdiff needs which extra, and the one message that says so.

An extra is a group of optional packages in pyproject.toml. Nothing here imports torch or an optional package.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightdiff.utils.config import ConfigError
from lightdiff.utils.files import shown

EXTRAS = {
    "diffusers": ("diffusers",),
    "text": ("transformers",),
    "huggingface": ("datasets",),
    "inception": ("torch_fidelity",),
    "sweep": ("hydra_plugins.hydra_optuna_sweeper",),
    "cluster": ("hydra_plugins.hydra_joblib_launcher", "hydra_plugins.hydra_submitit_launcher"),
    "wandb": ("wandb",),
}
"""Extra -> the modules it brings."""

NEEDED_BY = {
    "lightdiff.networks.DiffusersUNet2D": "diffusers",
    "lightdiff.networks.DiffusersUNet2DCondition": "diffusers",
    "lightdiff.conditioning.ClipConditioner": "text",
    "lightdiff.conditioning.FrozenClipConditioner": "text",
    "lightdiff.data.HuggingFace": "huggingface",
    "lightdiff.metrics.InceptionExtractor": "inception",
}
"""`_target_` -> the extra that its class needs."""


class MissingExtra(ConfigError):
    """An optional package that is asked for and not installed."""


def require(extra: str, asked: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: its name, a key of `EXTRAS`.
        asked: what the user asked for, as it stands in the configuration: "model=diffusers_unet".

    Raises:
        MissingExtra: one line with what was asked for, the extra, and the command that installs it.
    """
    if not all(map(_installed, EXTRAS[extra])):
        raise MissingExtra(f"{asked}: needs the extra {extra}, which is not installed; install it: {_command(extra)}")


def require_for(config: Any, key: str = "") -> None:
    """Check the extras of every `_target_` in plain data.

    Args:
        config: plain data: a composed configuration, or a part of it.
        key: where it stands in the configuration.

    Raises:
        MissingExtra: the first one that is not installed, by its key.
    """
    for where, name in targets(config, key):
        if name in NEEDED_BY:
            require(NEEDED_BY[name], f"{where.removesuffix('._target_')}={name.rpartition('.')[2]}")


def targets(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every `_target_` in plain data with the key it stands at."""
    if isinstance(config, dict):
        for name, value in config.items():
            where = f"{key}.{name}" if key else str(name)
            if name == "_target_":
                yield where, value
            yield from targets(value, where)
    elif isinstance(config, list):
        for i, value in enumerate(config):
            yield from targets(value, f"{key}[{i}]")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        # the parent package is missing, or the module has been switched off in sys.modules
        return False


def _command(extra: str) -> str:
    """Return the command that installs the extra into the environment that is running."""
    root = Path(__file__).resolve().parents[3]
    cloned = (root / "pyproject.toml").is_file() and (root / "conf").is_dir()
    package = f"-e '{shown(root)}[{extra}]'" if cloned else f"'lightdiff[{extra}]'"
    return f"{shown(Path(sys.executable))} -m pip install {package}"
