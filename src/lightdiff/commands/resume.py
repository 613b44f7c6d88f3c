"""Carry out `resume=<run folder or checkpoint>`: train a run further in its own folder, with its own configuration."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightdiff.commands.launch import start_job
from lightdiff.commands.suggestions import no_such_key
from lightdiff.commands.trained import naming_path
from lightdiff.config.conf_files import groups
from lightdiff.config.extras import targets
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.names import check_names, how_to_trust
from lightdiff.config.settings import check_settings
from lightdiff.config.trust import Trust
from lightdiff.jobs.good_checkpoint import resumable
from lightdiff.jobs.run_config import CONFIG, read_config
from lightdiff.jobs.run_folder import alone_in, check_text
from lightdiff.jobs.run_result import finished
from lightdiff.utils.files import replaced, shown, user_path
from lightdiff.utils.program import typed
from lightdiff.utils.quoting import setting

FIXED_KEYS = {
    "seed": "the order of the data and all noise follow from it",
    "init_from": "a resumed run goes on with its own weights",
    "init_weights": "a resumed run goes on with its own weights",
    "log_dir": "a resumed run stays in its folder",
}
"""Keys that a resumed run cannot change, and why."""
NEWER_KEYS = ("dataset.on_changed", "trust")
"""Keys that the config.yaml of a run of version 0.1 lacks."""


def resume(overrides: dict[str, Any]) -> None:
    """Train a run further, with its configuration changed by the dotted overrides beside `resume`.

    A changed configuration becomes config.yaml; the former one is kept beside it.

    Args:
        overrides: the command line's keys and values, `resume` among them.

    Raises:
        ConfigError: there is no such run, its checkpoint is broken, an override names a group or an unknown key, or config.yaml
            names code from outside lightdiff that the command line does not name.
    """
    overrides = {**overrides}
    path = user_path(str(overrides.pop("resume")))
    folder = _run_folder(path)
    # a missing or broken checkpoint is refused before anything in the folder changes
    with naming_path("resume", path):
        checkpoint, position = resumable(path)
    # the trust of the file counts for nothing, because the file may be a stranger's
    config = {**read_config(folder), "trust": []}
    for key, value in overrides.items():
        if key in FIXED_KEYS:
            raise ConfigError(f"{key}={value}: not possible together with resume=; {FIXED_KEYS[key]}")
        if key in groups():
            raise ConfigError(
                f"{key}={value}: a resumed run keeps its {key}; only dotted keys can change, as in trainer.max_epochs=20"
            )
        _set(config, key, value)
    pairs = ({key.rpartition(".")[2]: value} for key, value in overrides.items())
    typed_names = {str(name) for pair in pairs for _, name in targets(pair)}
    check_names(config, Trust.of(config["trust"], typed_names), how_to_trust)
    settings = check_settings(config)
    reached = finished(folder, config) if checkpoint.name == "last.ckpt" else None
    if reached:
        print(
            f"{shown(folder)}: this run is finished ({reached}); "
            f"train on with: {typed('train')} {setting('resume', folder)} {_longer(config['trainer'])}"
        )
        return
    with alone_in(folder), _as_last(checkpoint.absolute(), folder / "checkpoints" / "last.ckpt"):
        print(f"resuming at epoch {position['epoch']}, step {position['global_step']}", flush=True)
        start_job(config, folder, settings, replace=True)


@contextlib.contextmanager
def _as_last(checkpoint: Path, last: Path) -> Iterator[None]:
    """Copy `checkpoint` to `last`, from which a job goes on, and keep the former content beside it as replaced_last_N.ckpt.

    If the block refuses the configuration (ConfigError), the former file is put back, and the message names `checkpoint`.
    """
    if checkpoint == last:
        yield
        return
    former = _free_name(last.with_name("replaced_last.ckpt"))
    if last.exists():
        with replaced(former) as temporary:
            shutil.copyfile(last, temporary)
    with replaced(last) as temporary:
        shutil.copyfile(checkpoint, temporary)
    try:
        yield
    except ConfigError as error:
        if former.exists():
            former.replace(last)
        else:
            last.unlink()
        raise type(error)(str(error).replace(shown(last), shown(checkpoint))) from error


def _longer(trainer: dict[str, Any]) -> str:
    """Return the settings with which a finished run is trained twice as long."""
    limits = {name: trainer.get(name) for name in ("max_epochs", "max_steps")}
    return " ".join(
        f"trainer.{name}={max(1, 2 * limit)}" for name, limit in limits.items() if isinstance(limit, int) and limit >= 0
    )


def _run_folder(path: Path) -> Path:
    """Return the run folder that `path` is, or in which the checkpoint `path` lies."""
    if path == Path() or not path.exists():
        shown_path = "" if path == Path() else path
        raise ConfigError(f"resume={shown_path}: no such run folder or checkpoint")
    folder = (path if path.is_dir() else path.parent.parent).absolute()
    check_text("resume", folder)
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"resume={path}: not a run folder or a checkpoint in one ({shown(folder)} has no {CONFIG})")
    return folder


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    """Set the entry at a dotted key that exists already, or is one of `NEWER_KEYS`."""
    node: Any = config
    *parents, last = key.split(".")
    for name in parents:
        node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict) or (last not in node and key not in NEWER_KEYS):
        raise ConfigError(no_such_key(key, config))
    node[last] = value


def _free_name(path: Path) -> Path:
    """Return `path` with _1, _2, ... after its stem, the first of these that does not exist."""
    number = 1
    while (free := path.with_name(f"{path.stem}_{number}{path.suffix}")).exists():
        number += 1
    return free
