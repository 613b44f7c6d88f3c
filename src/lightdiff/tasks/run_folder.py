"""One run, one folder: lightning_logs/<dataset>/version_N."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from lightdiff.tasks.from_data import filled
from lightdiff.tasks.handover import rank_and_world_size
from lightdiff.tasks.lock import LOCK, in_training
from lightdiff.utils.config import ConfigError, shorten
from lightdiff.utils.files import replaced

CONFIG = "config.yaml"
RESULT = "result.json"
MAX_NODES = 100_000
"""Entries of a config.yaml; real ones have a few hundred."""


def next_run_folder(log_dir: str, dataset: str) -> str:
    """The next free `<log_dir>/<dataset>/version_N`, as an absolute path.

    Raises:
        ConfigError: one of them cannot be a folder's name.
    """
    for key, value in (("log_dir", log_dir), ("dataset.name", dataset)):
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{key}={shorten(value)}: the name of a folder is expected")
    if dataset in (".", "..") or set(dataset) & {"/", "\\", "\0"}:
        raise ConfigError(
            f"dataset.name={shorten(dataset)}: a plain name is expected, which becomes a folder in log_dir"
        )
    parent = Path(log_dir).absolute() / dataset
    numbers = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdigit()]
    return str(parent / f"version_{max(numbers, default=-1) + 1}")


def claim_run_folder(log_dir: str, dataset: str) -> str:
    """Make and return the next free folder.

    Making a folder succeeds for one process only, so that runs started in the same second get one each. Of several
    processes of one job only the first claims; another gets a path where it can do no harm.

    Raises:
        ConfigError: nothing can be written there.
    """
    if rank_and_world_size()[0] > 0:
        return str(Path(log_dir).absolute() / ".sweeps" / f"process_{rank_and_world_size()[0]}_{os.getpid()}")
    while True:
        folder = Path(next_run_folder(log_dir, dataset))
        try:
            folder.mkdir(parents=True)
            return str(folder)
        except FileExistsError as error:
            if not folder.is_dir():  # a file stands where a folder is needed
                raise ConfigError(f"log_dir={log_dir}: {error.filename} is no folder") from error
        except OSError as error:
            raise ConfigError(f"log_dir={log_dir}: no folder can be made there ({error.strerror})") from error


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write `config.yaml`; an older one that differs is kept as config.yaml.1, .2, ..."""
    path = folder / CONFIG
    if path.exists():
        if _same(path, config):
            return
        number = 1
        while (kept := folder / f"{CONFIG}.{number}").exists():
            number += 1
        with replaced(kept) as temporary:
            shutil.copyfile(path, temporary)
    with replaced(path) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False))


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved configuration of a run; ConfigError where the folder has none, or one that is more than plain data."""
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(f"{folder}: not a run folder (it has no {CONFIG})")
    try:
        config = _plain_yaml(path)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a configuration ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: not a configuration")
    return config


def _plain_yaml(path: Path) -> Any:
    """Content of a YAML file; ValueError where its aliases (`*name`) make more of it than a configuration is."""
    with path.open() as file:
        loader = yaml.SafeLoader(file)
        try:
            root = loader.get_single_node()
            if root is not None and _written_out(root, {}) > MAX_NODES:
                raise ValueError(f"without aliases it would have more than {MAX_NODES} entries")
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()


def _written_out(node: yaml.Node, known: dict[int, float]) -> float:
    """Number of nodes below this one, were each alias written out; infinite where one stands within itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until all below is counted
        children: list[Any] = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        known[id(node)] = 1 + sum(_written_out(child, known) for child in children)
    return known[id(node)]


def _same(path: Path, config: dict[str, Any], *, of_any_data: bool = False) -> bool:
    """Whether the file holds this configuration; one that cannot be read does not.

    Args:
        path: the file.
        config: plain data.
        of_any_data: the file may also say what this configuration leaves to the data set.
    """
    try:
        found = _plain_yaml(path)
        return bool(found == (filled(config, found) if of_any_data and isinstance(found, dict) else config))
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return False


def same_run(parent: Path, config: dict[str, Any]) -> Path | None:
    """The newest run below `parent` started with this very configuration that has a checkpoint or is still being trained."""
    runs = sorted(parent.glob("version_*"), key=lambda path: int(path.name[8:]) if path.name[8:].isdigit() else -1)
    for folder in reversed(runs):
        same = any(_same(path, config, of_any_data=True) for path in folder.glob(f"{CONFIG}*"))
        if same and ((folder / "checkpoints" / "last.ckpt").is_file() or in_training(folder)):
            return folder
    return None


def finished(folder: Path, config: dict[str, Any]) -> str | None:
    """What the run has reached, where that is all its configuration asks for."""
    try:
        reached = json.loads((folder / RESULT).read_text())
    except (OSError, ValueError):
        return None
    limits = {unit: config["trainer"].get(f"max_{unit}") for unit in ("epochs", "steps")}
    done = any(isinstance(limit, int) and 0 <= limit <= reached[unit] for unit, limit in limits.items())
    return f"{reached['epochs']} epochs, {reached['steps']} steps" if done else None


def discard_if_untrained(folder: Path, *, refused: bool) -> None:
    """Remove the folder of a run that never trained, so that no empty version is left.

    Args:
        folder: the run's folder.
        refused: the configuration was refused before the first batch: event files are empty then and go as well.
    """
    if not (folder / ".hydra").is_dir():  # not made by `claim_run_folder`: written by hand
        return
    written = [".hydra", CONFIG, LOCK, "train.log", *(["events.out.tfevents.*"] if refused else [])]
    if any(not any(map(path.match, written)) for path in folder.iterdir()):
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()
    with contextlib.suppress(OSError):
        # the folders of the data set and of all runs, where this was the first run
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
