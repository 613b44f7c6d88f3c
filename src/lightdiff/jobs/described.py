"""The data set of a trained model: as its run folder says it, else as its own file does.

A file may come from a stranger. It may name the data set's class and say how images are prepared; where files are read is the
user's to say, and sizes are the model's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightdiff.config.build import build_data
from lightdiff.config.instantiate import ConfigError
from lightdiff.config.trust import NOBODY, Trust
from lightdiff.data import DiffSet, HuggingFace
from lightdiff.jobs.run_config import CONFIG, read_config
from lightdiff.model import DiffusionModel
from lightdiff.utils.files import user_path
from lightdiff.utils.quoting import setting, word
from lightdiff.utils.weight_files import folder_of

OF_THE_MACHINE = ("data_dir", "num_workers", "resident", "max_memory_gb", "on_changed")
"""Keys of group dataset that a model's file neither gets nor decides."""


def portable(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return group dataset as a model's file describes it: without `OF_THE_MACHINE`, and with the bare name of a local folder."""
    described = {key: value for key, value in dataset.items() if key not in OF_THE_MACHINE}
    source = described.get("source")
    if isinstance(source, dict) and isinstance(source.get("path"), str) and user_path(source["path"]).is_dir():
        described["source"] = {**source, "path": user_path(source["path"]).name}
    return described


def dataset_of_run(checkpoint: Path) -> dict[str, Any] | None:
    """Return group dataset of the run that the checkpoint lies in; None where there is no such run."""
    folder = folder_of(checkpoint)
    dataset = read_config(folder).get("dataset") if (folder / CONFIG).is_file() else None
    return dataset if isinstance(dataset, dict) else None


def data_of(checkpoint: Path, model: DiffusionModel, data_dir: str | None, trust: Trust = NOBODY) -> DiffSet:
    """Return the data set that a model was trained on, not yet read.

    Args:
        checkpoint: its file.
        model: loaded from it.
        data_dir: the user's folder with the images; None: the run's, else the usual one.
        trust: whose classes the file or the run may name beside lightdiff's own.

    Raises:
        ConfigError: it is unknown, or its images can be anywhere and `data_dir` is None.
    """
    importer = trust.importer(["data"])
    place = {} if data_dir is None else {"data_dir": data_dir}
    of_run = dataset_of_run(checkpoint)
    if of_run is not None:
        return build_data({"dataset": {**of_run, **place}}, importer=importer)
    if model.dataset is None:
        raise ConfigError(
            f"dataset=null: neither {checkpoint.name} nor a {CONFIG} beside it tells the data set; say it, as in dataset=mnist"
        )
    channels, *image_size = model.image_shape
    described = {**portable(model.dataset), **place, "channels": channels, "image_size": image_size}
    data = build_data({"dataset": described}, importer=importer)
    if isinstance(data.source, HuggingFace):
        raise ConfigError(
            f"dataset=null: the model's data set is {data.source.path!r}; if you want it read, say dataset=huggingface "
            f"{setting('dataset.source.path', data.source.path)} {word(f'dataset.image_size={image_size}')} "
            f"dataset.channels={channels}"
        )
    if data_dir is None and data.source.usual_data_dir is None:
        raise ConfigError(
            f"data_dir=null: the images of the data set {data.name} can be anywhere; say data_dir=<folder>"
        )
    return data
