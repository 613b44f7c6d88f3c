"""Small files of every data set in its own format, full of noise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

MODELS_OF_CARS = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]


def write_small_sets(folder: Path) -> Path:
    """Write MNIST, Fashion-MNIST and CIFAR-10 with 24 images in each part, Stanford Cars with 12, 20 emoji, and photos: 20 of one
    class in `photos`, 6 of each of two classes in `animals`, again in `conditions`.
    Returns the folder."""
    random = np.random.default_rng(0)
    labels = np.arange(24, dtype=np.uint8) % 10
    for raw in (folder / "MNIST" / "raw", folder / "FashionMNIST" / "raw"):
        raw.mkdir(parents=True)
        for name in ("train", "t10k"):
            pixels = random.integers(0, 256, (24, 28, 28), dtype=np.uint8)
            head = np.array([0x803, 24, 28, 28], dtype=">i4").tobytes()
            (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
            head = np.array([0x801, 24], dtype=">i4").tobytes()
            (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    cifar = folder / "cifar-10-batches-bin"
    cifar.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = random.integers(0, 256, (24, 3072), dtype=np.uint8)
        (cifar / f"{name}.bin").write_bytes(np.concatenate([labels[:, None], pixels], axis=1).tobytes())

    def photo(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (72, 96, 3), dtype=np.uint8)).save(path)

    for i in range(20):
        photo(folder / "photos" / f"{i}.jpg")
    for i in range(12):
        photo(folder / "animals" / ("cat", "dog")[i % 2] / f"{i}.jpg")
    shutil.copytree(folder / "animals", folder / "conditions")
    write_emoji(folder / "emoji-datasource-google")
    cars = folder / "stanford_cars"
    (cars / "devkit").mkdir(parents=True)
    scipy.io.savemat(cars / "devkit" / "cars_meta.mat", {"class_names": np.array(MODELS_OF_CARS, dtype=object)})
    for part, file in (
        ("cars_train", "devkit/cars_train_annos.mat"),
        ("cars_test", "cars_test_annos_withlabels.mat"),
    ):
        rows = [(i % 2 + 1, f"{i:05d}.jpg") for i in range(6)]
        scipy.io.savemat(cars / file, {"annotations": np.array(rows, dtype=[("class", object), ("fname", object)])})
        for _, name in rows:
            photo(cars / part / name)
    return folder


def write_emoji(folder: Path) -> Path:
    """Write 20 transparent pictures and their list as the npm package emoji-datasource-google has them. Returns the folder."""
    random = np.random.default_rng(0)
    pictures = folder / "img" / "google" / "64"
    pictures.mkdir(parents=True)
    emoji = []
    for i in range(20):
        name, category, kind = (("RED Heart", "Symbols", "heart"), ("cat face", "Animals & Nature", "animal"))[i % 2]
        pixels = random.integers(0, 256, (64, 64, 4), dtype=np.uint8)
        # the corners are transparent, as those of most emoji are
        pixels[:16, :16, 3] = 0
        Image.fromarray(pixels).save(pictures / f"{i:04x}.png")
        known = {"name": f"{name} {i // 2}", "image": f"{i:04x}.png", "category": category, "subcategory": kind}
        emoji.append({**known, "has_img_google": True, "unified": f"{i:04X}"})
    emoji.append({"name": "only elsewhere", "image": "ffff.png", "category": "Flags", "has_img_google": False})
    # the list is in another order than the names of the files
    (folder / "emoji.json").write_text(json.dumps(emoji[::-1]))
    return folder
