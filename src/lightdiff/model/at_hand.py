"""List the trained models at hand, so that a notebook finds one wherever Jupyter was started."""

from __future__ import annotations

import os
from pathlib import Path

from lightdiff.model.errors import CheckpointError
from lightdiff.utils.program import typed

CLONE = Path(__file__).resolve().parents[3]
"""The project's folder, if lightdiff runs from its sources."""


def trained_models() -> list[Path]:
    """Return the folders that `load_model` can load: the runs, newest first, and last models/mnist_fast, which comes along.

    Runs are looked for in the folder lightning_logs of the working directory and of the project.

    Raises:
        CheckpointError: there is neither a run nor the model that comes along.
    """
    places = {Path.cwd(), CLONE}
    checkpoints = [file for place in places for file in place.glob("lightning_logs/*/version_*/checkpoints/last.ckpt")]
    folders = [file.parents[1] for file in sorted(checkpoints, key=os.path.getmtime, reverse=True)]
    folders += [folder for folder in (CLONE / "models" / "mnist_fast",) if folder.is_dir()]
    if not folders:
        raise CheckpointError(
            f"lightning_logs: there is no run in it; train one first: {typed('train')} experiment=digits_fast"
        )
    return folders
