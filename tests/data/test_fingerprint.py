"""What the facts of a data set show, and a Trainer that goes on with other data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer

from lightdiff.config.instantiate import ConfigError
from lightdiff.data import DataError, DiffSet, HuggingFace
from lightdiff.data.fingerprint import DataFacts, changed_classes
from lightdiff.data.traces import ENDS, SAMPLED, ends_of, sampled
from noise_photos import photos, write

datasets.disable_progress_bars()


def facts(folder: Path, **settings: object) -> DataFacts:
    data = DiffSet("folder", data_dir=str(folder), **{"image_size": 8, "batch_size": 2, **settings})
    data.setup()
    return DataFacts.from_plain(data.facts)


@pytest.mark.parametrize(
    "settings",
    [{"max_memory_gb": 0}, {"image_size": 4, "resize_mode": "resize"}, {"channels": 1}, {"on_corrupted": "skip"}],
)
def test_how_images_are_read_does_not_count(settings: dict[str, object], tmp_path: Path) -> None:
    assert facts(photos(tmp_path, 6), **settings) == facts(tmp_path)


def test_copies_elsewhere_are_the_same_data(tmp_path: Path) -> None:
    before = facts(photos(tmp_path / "a", 6))
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c", copy_function=shutil.copyfile)
    os.utime(tmp_path / "b" / "c" / "cat" / "001.bmp", (1, 1))
    assert facts(tmp_path / "b" / "c") == before


def swap(folder: Path) -> None:
    """Exchange two files of one size."""
    (folder / "cat" / "000.bmp").rename(folder / "kept")
    (folder / "cat" / "001.bmp").rename(folder / "cat" / "000.bmp")
    (folder / "kept").rename(folder / "cat" / "001.bmp")


def last_pixel(folder: Path) -> None:
    path = folder / "bird" / "003.bmp"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("alter", [swap, last_pixel, lambda folder: write(folder / "cat" / "004.bmp", 99)])
def test_any_change_of_a_small_folder_shows(alter: Callable[[Path], None], tmp_path: Path) -> None:
    before = facts(photos(tmp_path, 6))
    alter(tmp_path)
    after = facts(tmp_path)
    assert after.class_names == before.class_names and (after.train.count, after.val.count) == (11, 1)
    assert (after.train, after.val) != (before.train, before.val)
    assert after.changed_images(before) == (
        "11 to train on and 1 to validate on, now 11 and 1 with other names or content"
    )


def test_at_most_so_many_files_are_opened() -> None:
    for count in (0, 1, SAMPLED - 1, SAMPLED, SAMPLED + 1, 10 * SAMPLED, 10**6 + 7):
        rows = sampled(count)
        assert len(rows) <= SAMPLED and set(rows) <= set(range(count))
        assert len(rows) == count if count <= SAMPLED else len(rows) > SAMPLED // 2


@pytest.mark.parametrize("size", [0, 5, ENDS, ENDS + 1, 2 * ENDS, 2 * ENDS + 1, 5 * ENDS])
def test_both_ends_are_read_without_repetition(size: int, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "image").write_bytes(content)
    expected = content if size <= 2 * ENDS else content[:ENDS] + content[-ENDS:]
    assert ends_of(content) == ends_of(tmp_path / "image") == expected


def test_a_file_that_is_gone_is_another_fact(tmp_path: Path) -> None:
    """It is refused where it is read, as before."""
    before = facts(photos(tmp_path, 6))
    data = DiffSet("folder", data_dir=str(tmp_path), image_size=8, batch_size=2, max_memory_gb=0)
    data.find_class_names()
    (tmp_path / "cat" / "003.bmp").unlink()
    data.setup()
    after = DataFacts.from_plain(data.facts)
    assert (after.train.count, after.val.count) == (before.train.count, before.val.count)
    assert (after.train, after.val) != (before.train, before.val)
    with pytest.raises(DataError, match=r"cat/003\.bmp"):
        [store[range(len(store))] for store in (data.train_set, data.val_set)]


def test_tables_are_known_by_the_content_of_their_images(tmp_path: Path) -> None:
    def table(folder: str, seed: int) -> DataFacts:
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
        features = datasets.Features({"label": datasets.ClassLabel(names=["a", "b"]), "image": datasets.Image()})
        rows = {"label": [i % 2 for i in range(12)], "image": [Image.fromarray(image) for image in pixels]}
        place = tmp_path / folder
        datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(place)
        data = DiffSet("huggingface", source=HuggingFace(str(place)), image_size=8, batch_size=2)
        data.setup()
        return DataFacts.from_plain(data.facts)

    assert table("one", 0) == table("two", 0) != table("three", 1)


def test_the_first_label_that_differs_is_named() -> None:
    many = [f"class {i}" for i in range(1000)]
    assert changed_classes(many, many) is None
    changed = changed_classes(many, [*many[:700], "zebra", *many[701:]])
    assert changed is not None and changed.endswith("label 700 was class 700 and is zebra") and len(changed) < 250
    assert changed_classes(["a", "b"], ["b", "a"]) == "were 2 (a, b) and are 2 (b, a); label 0 was a and is b"
    assert changed_classes(["a", "b"], ["a"]) == "were 2 (a, b) and are 1 (a); label 1 was b and is gone"


class Tiny(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx) -> None:
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, epochs: int, ckpt_path: Path | None = None, **settings: object) -> tuple[DiffSet, Trainer]:
    data = DiffSet("folder", data_dir=str(folder / "photos"), image_size=8, batch_size=2, **settings)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=epochs,
    )
    trainer.fit(Tiny(), data, ckpt_path=ckpt_path)
    return data, trainer


def test_a_trainer_of_plain_python_notices_it_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos(tmp_path / "photos", 6)
    first, trainer = fit(tmp_path, 1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    fit(tmp_path, 2, tmp_path / "a.ckpt")
    (tmp_path / "photos" / "cat" / "003.bmp").unlink()
    with pytest.raises(ConfigError, match="11 to train on and 1 to validate on, now 10 and 1"):
        fit(tmp_path, 2, tmp_path / "a.ckpt")
    data, _ = fit(tmp_path, 2, tmp_path / "a.ckpt", on_changed="accept")
    assert "going on with other images: 11 to train on" in caplog.text
    former = {name: first.facts[name] for name in ("train", "val", "batches")}
    assert data.facts["former"] == [former] and former["batches"] == 5 and data.facts["batches"] == 10


def test_a_choice_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="on_changed=ignore: choices: refuse, accept"):
        DiffSet("digits", on_changed="ignore")
