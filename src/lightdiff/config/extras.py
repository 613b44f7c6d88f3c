"""Optional packages: which part of lightdiff needs which extra, and the one message that says so.

An extra is a group of optional packages in pyproject.toml. Nothing here imports torch or an optional package.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightdiff.config.instantiate import ConfigError
from lightdiff.utils.quoting import path_text, word

EXTRAS = {
    "diffusers": ("diffusers",),
    "text": ("transformers",),
    "huggingface": ("datasets",),
    "inception": ("torch_fidelity",),
    "sweep": ("hydra_plugins.hydra_optuna_sweeper",),
    "cluster": ("hydra_plugins.hydra_joblib_launcher", "hydra_plugins.hydra_submitit_launcher"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "trackio": ("trackio",),
}
"""Extra -> the modules it brings."""

LOGGERS = ("wandb", "mlflow", "trackio")
"""Names of loggers that need the extra of their name."""

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
    if not installed(extra):
        raise MissingExtra(f"{asked}: needs the extra {extra}, which is not installed; install it: {_command(extra)}")


def missing_extra(config: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Find the classes in plain data whose extra is not installed.

    Args:
        config: a composed configuration, or a part of it.
        key: where it stands in the configuration.

    Yields:
        (key, class name, extra) of each.
    """
    for where, name in targets(config, key):
        extra = NEEDED_BY.get(str(name))
        if extra is not None and not installed(extra):
            yield where.removesuffix("._target_"), str(name).rpartition(".")[2], extra


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


def installed(extra: str) -> bool:
    """Return whether all modules of an extra can be imported."""
    return all(map(_found, EXTRAS[extra]))


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        # the parent package is missing, or the module has been switched off in sys.modules
        return False


def _command(extra: str) -> str:
    """Return the command that installs the extra into the environment that is running."""
    root = Path(__file__).resolve().parents[3]
    cloned = (root / "pyproject.toml").is_file() and (root / "conf").is_dir()
    package = f"-e {word(f'{path_text(root)}[{extra}]')}" if cloned else word(f"lightdiff[{extra}]")
    return f"{word(path_text(Path(sys.executable)))} -m pip install {package}"
