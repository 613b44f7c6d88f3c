"""The folder of each run: `<log_dir>/<dataset>/version_N`, with its config.yaml."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lightdiff.tasks.data_paths import absolute, found_again, recorded
from lightdiff.tasks.former import renewed
from lightdiff.tasks.from_data import filled
from lightdiff.tasks.lock import LOCK, in_training
from lightdiff.utils.config import ConfigError, shorten
from lightdiff.utils.files import replaced, user_path
from lightdiff.utils.ranks import rank_and_world_size
from lightdiff.utils.structure import COUNT, NUMBER, Every, Keys

CONFIG = "config.yaml"
RESULT = "result.json"
MAX_NODES = 100_000
"""Most entries that a config.yaml may have; real ones have a few hundred."""
MAX_SIZE = 500_000
"""Characters of the largest config.yaml that is parsed, which takes some seconds; real ones have a few thousand."""
MAX_DIGITS = 1000
"""Characters of the longest integer in a config.yaml. Python refuses to print numbers of more than 4300 digits."""


def next_run_folder(log_dir: str, dataset: str) -> str:
    """Return the next free `<log_dir>/<dataset>/version_N`, as an absolute path.

    Raises:
        ConfigError: `log_dir` or `dataset` cannot be the name of a folder.
    """
    for key, value in (("log_dir", log_dir), ("dataset.name", dataset)):
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{key}={shorten(value)}: the name of a folder is expected")
    if dataset in (".", "..") or set(dataset) & {"/", "\\", "\0"}:
        raise ConfigError(
            f"dataset.name={shorten(dataset)}: a plain name is expected, which becomes a folder in log_dir"
        )
    parent = user_path(log_dir).absolute() / dataset
    check_text("log_dir", parent)
    if "${" in str(parent):
        raise ConfigError(
            f"log_dir={shorten(log_dir)}: no run can lie below a folder with ${{ in its name, which Hydra fills in"
        )
    numbers = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
    return str(parent / f"version_{max(numbers, default=-1) + 1}")


def check_text(key: str, folder: Path) -> None:
    """Refuse a run folder whose name is no text in the locale of this process: TensorBoard cannot write there.

    Raises:
        ConfigError: one line with the key and what to do.
    """
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{key}={folder}: this name cannot be read as text here; set PYTHONUTF8=1 and LC_ALL=C.UTF-8, or choose another"
        ) from error


def claim_run_folder(log_dir: str, dataset: str) -> str:
    """Make the next free run folder and return its path.

    Only one process can make a given folder, so that runs started in the same second get one each. Within a job only rank 0
    makes a folder; every other rank gets a path of its own below `.sweeps`, where it cannot disturb the run.

    Raises:
        ConfigError: no folder can be made in `log_dir`.
    """
    rank, _ = rank_and_world_size()
    if rank > 0:
        return str(user_path(log_dir).absolute() / ".sweeps" / f"process_{rank}_{os.getpid()}")
    while True:
        folder = Path(next_run_folder(log_dir, dataset))
        try:
            folder.mkdir(parents=True)
            return str(folder)
        except FileExistsError as error:
            # another run has just made this folder: go on to the next number; a file in the way would stay
            if not folder.is_dir():
                raise ConfigError(f"log_dir={log_dir}: {error.filename} is no folder") from error
        except OSError as error:
            raise ConfigError(f"log_dir={log_dir}: no folder can be made there ({error.strerror})") from error


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write `config.yaml` into the folder, with absolute paths of data.

    An older one that differs is kept as config.yaml.1, config.yaml.2, ...
    """
    path = folder / CONFIG
    if path.exists():
        if _holds(path, config):
            return
        number = 1
        while (kept := folder / f"{CONFIG}.{number}").exists():
            number += 1
        with replaced(kept) as temporary:
            shutil.copyfile(path, temporary)
    with replaced(path) as temporary:
        temporary.write_text(yaml.safe_dump(recorded(config, folder), sort_keys=False), encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the resolved configuration of the run in `folder`, whose data are found again if it was moved together with them.

    Raises:
        ConfigError: the folder has no config.yaml, or the file holds more than plain data or far too much of it.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(f"{folder}: not a run folder (it has no {CONFIG})")
    try:
        config = _plain_yaml(path)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a configuration ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: not a configuration")
    return found_again(renewed(config), folder)


def _plain_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ValueError: it is longer than `MAX_SIZE`, has a number of more than `MAX_DIGITS` digits, or with its aliases (`*name`)
            written out more than `MAX_NODES` entries.
    """
    with path.open(encoding="utf-8") as file:
        text = file.read(MAX_SIZE + 1)
    if len(text) > MAX_SIZE:
        raise ValueError(f"it has more than {MAX_SIZE} characters")
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is not None and _expanded_size(root, {}) > MAX_NODES:
            raise ValueError(f"without aliases it would have more than {MAX_NODES} entries")
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _expanded_size(node: yaml.Node, known: dict[int, float]) -> float:
    """Count a node and all below it, with each alias written out; infinite if a node contains itself.

    A long text counts once more for every hundred characters.

    Args:
        node: where to begin.
        known: sizes by the id of the node, filled on the way, so that a node with many aliases is counted once.

    Raises:
        ValueError: as for `_size`.
    """
    if id(node) not in known:
        # stands while the nodes below are counted, so that meeting this node again among them gives infinity
        known[id(node)] = math.inf
        known[id(node)] = _size(node) + sum(_expanded_size(child, known) for child in _children(node))
    return known[id(node)]


def _size(node: yaml.Node) -> int:
    """Return what a node counts without those below it.

    Raises:
        ValueError: it is a number of more than `MAX_DIGITS` digits.
    """
    if not isinstance(node, yaml.ScalarNode):
        return 1
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        raise ValueError(f"it has a number of more than {MAX_DIGITS} digits")
    return 1 + len(node.value) // 100


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        return []
    return [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else node.value


def _holds(path: Path, config: dict[str, Any], *, of_any_data: bool = False) -> bool:
    """Return whether the YAML file holds this configuration; False if it cannot be read.

    Args:
        path: the file.
        config: plain data.
        of_any_data: whether the file may also say what this configuration leaves to the data set, and differ in `on_changed`.
    """
    try:
        found = _plain_yaml(path)
        if not isinstance(found, dict):
            return False
        found, config = absolute(found_again(found, path.parent)), absolute(config)
        if of_any_data:
            config = filled(config, found)
            found, config = (_without(each, "dataset", "on_changed") for each in (found, config))
        return found == config
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return False


def _without(config: dict[str, Any], group: str, key: str) -> dict[str, Any]:
    """Return the configuration without a key of a group."""
    settings = config.get(group)
    return {**config, group: {k: v for k, v in settings.items() if k != key}} if isinstance(settings, dict) else config


def same_run(parent: Path, config: dict[str, Any]) -> Path | None:
    """Return the newest run below `parent` that has had exactly this configuration and can go on; None if there is none.

    A run can go on if it has a last checkpoint or another process is still training it.
    """
    runs = sorted(parent.glob("version_*"), key=lambda path: int(path.name[8:]) if path.name[8:].isdecimal() else -1)
    for folder in reversed(runs):
        same = any(_holds(path, config, of_any_data=True) for path in folder.glob(f"{CONFIG}*"))
        if same and ((folder / "checkpoints" / "last.ckpt").is_file() or in_training(folder)):
            return folder
    return None


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return what the run in `folder` has come to, as its result.json says; None if the file is missing or holds no result."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        _RESULT.check(result)
    except (OSError, ValueError, RecursionError):
        return None
    return dict(result)


_RESULT = Keys(epochs=COUNT, steps=COUNT, metrics=Every(NUMBER))


def finished(folder: Path, config: dict[str, Any]) -> str | None:
    """Return "N epochs, M steps" if the run has trained as long as its configuration asks for, else None."""
    reached = read_result(folder)
    limits = {unit: config["trainer"].get(f"max_{unit}") for unit in ("epochs", "steps")}
    if reached and any(isinstance(limit, int) and 0 <= limit <= reached[unit] for unit, limit in limits.items()):
        return f"{reached['epochs']} epochs, {reached['steps']} steps"
    return None


@contextlib.contextmanager
def put_back_if_refused(folder: Path) -> Iterator[None]:
    """If the block refuses the configuration (ConfigError), put config.yaml and result.json back and remove what is new."""

    def written() -> set[Path]:
        # loggers write under any name; a folder of another name may be one in which others write as well
        patterns = ["*"] if folder.match("version_*") else [f"{CONFIG}*", RESULT, "events.out.tfevents.*"]
        trained = {folder / name for name in ("checkpoints", "samples", "plots", "evaluation")}
        return {path for pattern in patterns for path in folder.glob(pattern)} - trained

    before = written()
    contents = {path: path.read_bytes() for path in (folder / CONFIG, folder / RESULT) if path.is_file()}
    try:
        yield
    except ConfigError:
        for path in written() - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, content in contents.items():
            with replaced(path) as temporary:
                temporary.write_bytes(content)
        raise


def discard_if_untrained(folder: Path, *, refused: bool) -> None:
    """Remove the folder of a run that never trained, so that no empty version is left.

    Args:
        folder: the run's folder.
        refused: whether the configuration was refused before the first batch; event files are empty then and removed as well.
    """
    # a folder without .hydra was not made for a command but by the user's own hand
    if not (folder / ".hydra").is_dir():
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
    # the folders of the data set and of all runs go too if this was their only run; a folder that holds others cannot be removed
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
