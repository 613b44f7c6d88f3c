"""The training job: run this folder.

The folder's config.yaml says what to do and its last.ckpt, where there is one, from where to go on. One device, several
processes, torchrun, SLURM and resume all come through here; Hydra does not.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from pytorch_lightning import seed_everything

from lightdiff.lightning import load_weights_into, read_checkpoint
from lightdiff.tasks.build import build_data, build_model, build_trainer
from lightdiff.tasks.run_folder import discard_if_untrained, read_config, shown
from lightdiff.utils.config import ConfigError

RESULT = "result.json"


def run_job(folder: Path) -> dict[str, Any]:
    """Train what the folder's config.yaml says, going on from its last.ckpt; returns the content of result.json.

    Raises:
        ConfigError: something was refused before the first step; a folder without any training is removed again.
    """
    folder = folder.absolute()
    config = read_config(folder)
    rank_zero = int(os.environ.get("LOCAL_RANK", 0)) == 0 and int(os.environ.get("RANK", 0)) == 0
    if rank_zero:
        print(f"run folder: {shown(folder)}", flush=True)
    log_file = _log_to(folder / "train.log") if rank_zero else None
    try:
        _fit(config, folder)
    except ConfigError:
        if rank_zero:
            discard_if_untrained(folder)
        raise
    finally:
        if log_file is not None:
            logging.getLogger().removeHandler(log_file)
            log_file.close()
    result = json.loads((folder / RESULT).read_text()) if (folder / RESULT).is_file() else {}
    if rank_zero:
        _summarise(folder, result)
    return result


def _fit(config: dict[str, Any], folder: Path) -> None:
    checkpoint = folder / "checkpoints" / "last.ckpt"
    purge_step = None
    if checkpoint.is_file():
        purge_step = int(read_checkpoint(checkpoint)["global_step"]) + 1
    seed_everything(config["seed"], verbose=False)
    data = build_data(config)
    model = build_model(config)
    if config.get("init_from") and purge_step is None:
        load_weights_into(model, config["init_from"], weights=config["init_weights"])
    trainer = build_trainer(config, folder, purge_step=purge_step)
    data.prepare_data()
    (folder / RESULT).unlink(missing_ok=True)
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint if purge_step is not None else None, weights_only=True)


def _log_to(path: Path) -> logging.Handler:
    """Messages of this project and of Lightning, and warnings, also into the run's train.log."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    logging.getLogger().addHandler(handler)
    logging.getLogger("lightdiff").setLevel(logging.INFO)
    return handler


def _summarise(folder: Path, result: dict[str, Any]) -> None:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in result.get("metrics", {}).items())
    if metrics:
        print(f"result:     {metrics}")
    for label, pattern in (("samples:   ", "*.png"), ("animation: ", "*.gif")):
        pictures = sorted((folder / "samples").glob(pattern))
        if pictures:
            print(f"{label} {shown(pictures[-1])}")
    print(f"run folder: {shown(folder)}", flush=True)
