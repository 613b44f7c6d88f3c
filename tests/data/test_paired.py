"""Paired: each image comes with the condition of its name, in memory and from files, flipped together with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.data import DataError, DiffSet
from runs import composed, train

COUNT = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of 8x8 in two classes, whose conditions are their negatives in gray; the conditions end in .bmp."""
    for i in range(COUNT):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
        name = f"{'ab'[i % 2]}/{i:02d}"
        for part, ending, content in (("images", "png", pixels), ("conditions", "bmp", 255 - pixels)):
            path = tmp_path / part / f"{name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
    return tmp_path


def dataset(folder: Path, **settings: Any) -> DiffSet:
    from lightdiff.data import Paired

    source = Paired(condition_channels=1, val_fraction=0.25)
    usual = {"image_size": 8, "channels": 1, "batch_size": 4, "seed": 3}
    return DiffSet("paired", source=source, data_dir=str(folder), **{**usual, **settings})


@pytest.mark.parametrize("max_memory_gb", [4.0, 0.0], ids=["in memory", "from files"])
def test_every_image_comes_with_its_own_condition(folder: Path, max_memory_gb: float) -> None:
    data = dataset(folder, max_memory_gb=max_memory_gb)
    data.setup()
    assert (data.num_train, data.num_val, data.class_names) == (9, 3, ("a", "b"))
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            assert batch["condition"].dtype == torch.uint8
            assert torch.equal(batch["condition"], 255 - batch["image"])


def test_batches_are_those_of_a_folder_without_conditions(folder: Path) -> None:
    data, plain = dataset(folder), None
    data.setup()
    from lightdiff.data import Folder

    usual = {"image_size": 8, "channels": 1, "batch_size": 4, "seed": 3}
    plain = DiffSet("folder", source=Folder(val_fraction=0.25), data_dir=str(folder / "images"), **usual)
    plain.setup()
    for left, right in zip(data.train_dataloader(), plain.train_dataloader(), strict=True):
        assert torch.equal(left["image"], right["image"])
        assert torch.equal(left["label"], right["label"])


def test_both_are_flipped_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(folder, horizontal_flip=True)
    data.setup()

    class Training:
        training, global_rank, world_size = True, 0, 1
        overfit_batches = 0

    batch = data.train_set[range(9)]
    data.trainer = Training()  # type: ignore[assignment]
    monkeypatch.setattr(DiffSet, "batch_number", 5)
    flipped = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(flipped["condition"], 255 - flipped["image"])
    assert not torch.equal(flipped["image"], batch["image"])


def test_the_fingerprint_changes_with_a_condition(folder: Path) -> None:
    def fingerprints() -> set[str]:
        data = dataset(folder, max_memory_gb=0)
        data.setup()
        return {data.train_set.fingerprint, data.train_set.portable_fingerprint, data.train_set.in_memory().fingerprint}

    before = fingerprints()
    for file in (folder / "conditions").rglob("*.bmp"):
        Image.fromarray(np.full((8, 8), 7, dtype=np.uint8)).save(file)
    assert len(before) == 3
    assert not before & fingerprints()


def test_a_missing_condition_is_named_in_one_line(folder: Path) -> None:
    (folder / "conditions" / "a" / "02.bmp").unlink()
    (folder / "conditions" / "b" / "03.bmp").rename(folder / "conditions" / "b" / "99.bmp")
    data = dataset(folder)
    with pytest.raises(
        DataError, match=r"^source.condition_dir=conditions: \d of \d+ images have no file of their name"
    ) as c:
        data.setup()
    assert "\n" not in str(c.value)


def test_two_files_of_one_name_are_refused(folder: Path) -> None:
    (folder / "conditions" / "a" / "00.png").write_bytes((folder / "images" / "a" / "00.png").read_bytes())
    with pytest.raises(DataError, match=r"a/00.bmp and a/00.png have the same name"):
        dataset(folder).setup()


def test_training_by_the_configuration(folder: Path, tmp_path: Path) -> None:
    config = composed(
        *("dataset=paired", f"dataset.data_dir={folder}", "dataset.image_size=8", "dataset.channels=1"),
        *("dataset.source.condition_channels=1", "conditioning=paired"),
        *("dataset.batch_size=4", "dataset.source.val_fraction=0.25", "dataset.num_workers=0", "trainer=debug"),
        *("model=unet_small", "model.widths=[4,4]", "model.attention_levels=[]", "model.num_heads=1", "sampler=ddim"),
        *("sampler.num_steps=2", "trainer.enable_progress_bar=false", "callbacks.samples.rows=1"),
        *("callbacks.samples.columns=2", "callbacks.schedule_plot=null", "callbacks.loss_plot=null"),
    )
    train(config, tmp_path / "run" / "version_0")
    assert list((tmp_path / "run" / "version_0" / "samples").glob("step_*.png"))
