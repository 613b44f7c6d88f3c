"""`resume=<run folder or checkpoint>`: go on in that folder, with that run's own configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from lightdiff.lightning import find_checkpoint, read_checkpoint
from lightdiff.tasks.launch import start_job
from lightdiff.tasks.run_folder import CONFIG, read_config, write_config
from lightdiff.utils.config import ConfigError, suggest
from lightdiff.utils.files import shown


def resume(arguments: list[str], script: Path) -> None:
    """Apply the dotted overrides beside `resume=` to the run's config.yaml (the old one is kept) and run the job.

    Raises:
        ConfigError: no such run, a broken checkpoint, a group override, an unknown key.
    """
    overrides = _parse(arguments)
    path = Path(str(overrides.pop("resume"))).absolute()
    folder = _run_folder(path)
    checkpoint = find_checkpoint(path)
    position = read_checkpoint(checkpoint)  # names a missing or broken one before anything is touched
    config = read_config(folder)
    old = json.dumps(config)
    for key, value in overrides.items():
        if "." not in key and (script.parent / "conf" / key).is_dir():
            raise ConfigError(
                f"{key}={value}: a resumed run keeps its {key}; only dotted keys can change, as in trainer.max_epochs=20"
            )
        _set(config, key, value)
    finished = _finished(folder, config, checkpoint)
    if finished:
        print(
            f"{shown(folder)}: this run is finished ({finished}); "
            f"train on with: python train.py resume={shown(folder)} trainer.max_epochs=..."
        )
        return
    last = folder / "checkpoints" / "last.ckpt"
    if checkpoint != last:
        if last.exists():
            last.rename(_free_name(last.with_name("replaced_last.ckpt")))
        last.write_bytes(checkpoint.read_bytes())
    if json.dumps(config) != old:
        write_config(folder, config)
    print(f"resuming at epoch {position['epoch']}, step {position['global_step']}", flush=True)
    start_job(config, folder, script, replace=True)


def _parse(arguments: list[str]) -> dict[str, Any]:
    """Command-line overrides as {key: value}; only plain `key=value`."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    if flags:
        raise ConfigError(f"{flags[0]}: not possible together with resume=")
    try:
        parsed: list[Override] = OverridesParser.create().parse_overrides(arguments)
    except HydraException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    for override in parsed:
        if override.type is None or override.type.name != "CHANGE" or override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: only key=value is possible together with resume=")
    return {override.key_or_group: override.value() for override in parsed}


def _run_folder(path: Path) -> Path:
    """The run folder itself, or the one a checkpoint lies in."""
    if not path.exists():
        raise ConfigError(f"resume={path}: no such run folder or checkpoint")
    folder = path if path.is_dir() else path.parent.parent
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"resume={path}: not a run folder or a checkpoint in one ({folder} has no {CONFIG})")
    return folder


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    node: Any = config
    *parents, last = key.split(".")
    for i, name in enumerate(parents):
        if not isinstance(node.get(name), dict):
            raise ConfigError(f"{'.'.join(parents[: i + 1])}: no such key; {suggest(name, node)}")
        node = node[name]
    if last not in node:
        raise ConfigError(f"{key}: no such key; {suggest(last, node)}")
    node[last] = value


def _finished(folder: Path, config: dict[str, Any], checkpoint: Path) -> str | None:
    """What the run has reached, where that is all its configuration asks for."""
    result = folder / "result.json"
    if checkpoint.name != "last.ckpt" or not result.is_file():
        return None
    reached = json.loads(result.read_text())
    trainer = config["trainer"]
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    done = (epochs not in (None, -1) and reached["epochs"] >= epochs) or (
        steps not in (None, -1) and reached["steps"] >= steps
    )
    return f"{reached['epochs']} epochs, {reached['steps']} steps" if done else None


def _free_name(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.stem}_{number}{path.suffix}")).exists():
        number += 1
    return free
