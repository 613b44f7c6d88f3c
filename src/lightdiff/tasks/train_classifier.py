"""Train the classifier that measures a data set, and save it into the package.

    python -m lightdiff.tasks.train_classifier mnist --data-dir data            # minutes on a CPU

Every image of the training split is used, the accuracy is that on all images of the other split, after the last epoch: nothing is
selected by it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import save_file

from lightdiff.data import DataError, DiffSet
from lightdiff.metrics.classifier import WEIGHTS
from lightdiff.metrics.fitting import accuracy, fit_classifier


@dataclass(frozen=True)
class Recipe:
    """How a data set's classifier is trained, and what must be known about it."""

    image_size: int
    epochs: int
    flip: bool = False
    note: str = ""


RECIPES = {
    "digits": Recipe(16, epochs=40),
    "mnist": Recipe(28, epochs=10),
    "fashion": Recipe(28, epochs=12, flip=True),
    "cifar": Recipe(32, epochs=12, flip=True, note="preliminary: trained on images that were stored as JPEG"),
}


def train_classifier(
    name: str, data_dir: str, folder: Path = WEIGHTS, seed: int = 0, epochs: int | None = None
) -> dict:
    """Write `<name>.safetensors` and `<name>.json` into `folder`; returns the facts in the latter.

    Raises:
        DataError: the images are missing.
    """
    recipe = RECIPES[name]
    data = DiffSet(name, data_dir=data_dir, image_size=recipe.image_size)
    data.setup()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = (
        {key: value.to(device) for key, value in split[range(len(split))].items()}
        for split in (data.train_set, data.val_set)
    )
    start = time.perf_counter()
    epochs = recipe.epochs if epochs is None else epochs
    network = fit_classifier(
        train["image"], train["label"], len(data.class_names), epochs=epochs, flip=recipe.flip, seed=seed
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous().cpu() for key, value in network.state_dict().items()}, path)
    facts = {
        "dataset": name,
        "image_size": recipe.image_size,
        "channels": data.channels,
        "class_names": list(data.class_names),
        "test_accuracy": round(accuracy(network, test["image"], test["label"]), 6),
        "num_train": data.num_train,
        "num_test": data.num_val,
        "epochs": epochs,
        "seed": seed,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "device": device,
        "date": date.today().isoformat(),
        "note": recipe.note,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=RECIPES, help="the data set")
    parser.add_argument("--data-dir", default="data", help="where its files are")
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="where to save; the package itself by default")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        print(json.dumps(train_classifier(arguments.name, arguments.data_dir, arguments.folder, arguments.seed)))
    except DataError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
