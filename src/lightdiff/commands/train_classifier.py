"""Train the classifier that measures a data set.

    python -m lightdiff.commands.train_classifier folder --data-dir photos --name photos
    python -m lightdiff.commands.train_classifier photos                # the same: a folder with a sub-folder for each class
    python -m lightdiff.commands.train_classifier mnist --noisy         # one that guides sampling instead (guidance=classifier)

Every image of the training split is used, the accuracy is that on all images of the other split, after the last epoch: nothing is
selected by it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from lightdiff.commands.noisy_classifier import NOISY_CLASSIFIERS, train_noisy_classifier
from lightdiff.config.extras import require
from lightdiff.config.instantiate import suggest
from lightdiff.data import SOURCES, DataError, DiffSet, HuggingFace
from lightdiff.jobs.summary import data_summary
from lightdiff.metrics.classifier import OWN_CLASSIFIERS, WEIGHTS, available
from lightdiff.metrics.fitting import BATCH_SIZE, accuracy, fit_classifier
from lightdiff.utils.files import full_or_broken_disk, replaced, shown, user_path
from lightdiff.utils.output import survive_lost_output
from lightdiff.utils.quoting import setting

STEPS, MAX_EPOCHS = 600, 60
"""A data set without a recipe is seen as often as makes about so many steps, but no oftener than this."""


@dataclass(frozen=True)
class Recipe:
    """How a data set's classifier is trained, and what must be known about it.

    Args:
        image_size: side of its images; None: the usual one of the data set.
        epochs: times that every image is seen; None: by the number of images.
        flip: mirror every second image.
        note: for its facts.
    """

    image_size: int | None = None
    epochs: int | None = None
    flip: bool = False
    note: str = ""

    def epochs_for(self, num_images: int) -> int:
        """Times that every one of so many images is seen."""
        return self.epochs or max(1, min(MAX_EPOCHS, -(-STEPS // -(-num_images // BATCH_SIZE))))


RECIPES = {
    "digits": Recipe(16, epochs=40),
    "mnist": Recipe(28, epochs=10),
    "fashion": Recipe(28, epochs=12, flip=True),
    "cifar": Recipe(32, epochs=12, flip=True, note="preliminary: trained on images that were stored as JPEG"),
}


def data_set(source: str, path: str | None = None, **settings: Any) -> DiffSet:
    """Return the data set that is meant, not yet read.

    Args:
        source: a name of `SOURCES`, huggingface, or a folder of images.
        path: of huggingface, the data set's name on the hub or its folder.
        settings: of `DiffSet`.

    Raises:
        ValueError: no such source.
    """
    if source == "huggingface":
        require("huggingface", "huggingface")
        if path is None:
            raise ValueError("--path: huggingface needs the name of the data set, or its folder")
        return DiffSet(source, source=HuggingFace(path), **settings)
    if source in SOURCES:
        return DiffSet(source, **settings)
    if user_path(source).is_dir():
        return DiffSet("folder", **{**settings, "data_dir": source})
    raise ValueError(f"{source}: no such data set or folder; {suggest(source, [*SOURCES, 'huggingface'])}")


def train_classifier(
    data: DiffSet, name: str, folder: Path, *, recipe: Recipe | None = None, seed: int = 0, epochs: int | None = None
) -> dict[str, Any]:
    """Write `<name>.safetensors` and `<name>.json` into `folder`; returns the facts in the latter.

    Args:
        data: labelled images, brought to squares.
        name: of the classifier, `extractor.dataset` of those that use it.
        folder: where it is kept.
        recipe: how it is trained; None: as a data set without a recipe of its own.
        seed: of the first weights and the order of the images.
        epochs: times that every image is seen; None: as in the recipe.

    Raises:
        DataError: the images are missing.
        ValueError: a name that cannot be used, or images of one class.
    """
    recipe = recipe or Recipe()
    if not name or set(name) & {"/", "\\", "\0"}:
        raise ValueError(f"--name {name}: a plain name is expected, which becomes that of two files")
    if name in available() and folder.resolve() != WEIGHTS.resolve():
        raise ValueError(f"--name {name}: the package has a classifier of that name; choose another one")
    data.setup()
    if len(data.class_names) < 2:
        raise ValueError(f"{data.name}: images of two classes or more are needed, a sub-folder for each")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = (
        {key: value.to(device) for key, value in split[range(len(split))].items() if key in ("image", "label")}
        for split in (data.train_set, data.val_set)
    )
    start = time.perf_counter()
    epochs = recipe.epochs_for(data.num_train) if epochs is None else epochs
    network = fit_classifier(
        train["image"], train["label"], len(data.class_names), epochs=epochs, flip=recipe.flip, seed=seed
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    weights = save({key: value.contiguous().cpu() for key, value in network.state_dict().items()})
    facts = {
        "dataset": name,
        "image_size": data.image_size[0],
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
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    # both files are there before either takes its place, so that a full disk leaves a former classifier as it was
    with replaced(path.with_suffix(".json")) as facts_file, replaced(path) as weights_file:
        weights_file.write_bytes(weights)
        facts_file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts


def main() -> None:
    """Read the command line, train, and say what came of it."""
    survive_lost_output()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", help=f"{', '.join(SOURCES)}, huggingface, or a folder of images")
    parser.add_argument("--data-dir", default="data", help="where its files are; of source folder, the images")
    parser.add_argument("--path", help="of source huggingface: the data set's name on the hub, or its folder")
    parser.add_argument("--name", help="of the classifier; by default the source's")
    parser.add_argument("--image-size", type=int, help="side of the images; by default the data set's usual one")
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="1 grayscale, 3 RGB; by default the data set's own"
    )
    parser.add_argument("--epochs", type=int, help="times that every image is seen; by default enough")
    parser.add_argument("--noisy", action="store_true", help="one of noisy images, for guidance=classifier")
    parser.add_argument("--folder", type=user_path, help="where to keep it")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    recipe = RECIPES.get(asked.source, Recipe())
    name = asked.name or Path(asked.source).name
    try:
        settings = {"image_size": asked.image_size or recipe.image_size, "channels": asked.channels}
        data = data_set(asked.source, asked.path, data_dir=asked.data_dir, **settings)
        data.setup()
        print(data_summary(data), flush=True)
        if asked.noisy:
            folder = asked.folder or Path(NOISY_CLASSIFIERS)
            epochs = asked.epochs or recipe.epochs_for(data.num_train)
            facts = train_noisy_classifier(data, name, folder, epochs=epochs, flip=recipe.flip, seed=asked.seed)
        else:
            folder = asked.folder or Path(OWN_CLASSIFIERS)
            facts = train_classifier(data, name, folder, recipe=recipe, seed=asked.seed, epochs=asked.epochs)
    except (DataError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
    except OSError as error:
        failed = full_or_broken_disk(error)
        if failed is None:
            raise
        print(f"error: {failed}", file=sys.stderr)
        raise SystemExit(1) from error
    if asked.noisy:
        levels = ", ".join(f"{share:.2%} at flow time {tau}" for tau, share in facts["accuracy"].items())
        print(f"accuracy on {facts['num_test']} validation images: {levels}")
        settings_of_it = ["guidance=classifier", setting("guidance.classifier", folder / f"{name}.safetensors")]
    else:
        print(f"accuracy on {facts['num_test']} validation images: {facts['test_accuracy']:.2%}")
        settings_of_it = [setting("extractor.dataset", name)]
        if folder != Path(OWN_CLASSIFIERS):
            settings_of_it.append(setting("extractor.weights", folder))
    print(f"{shown((folder / name).absolute())}.safetensors: use it by {' '.join(settings_of_it)}")


if __name__ == "__main__":
    main()
