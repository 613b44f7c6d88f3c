"""Emoji, from the npm package as it is unpacked and from a folder with a metadata.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightdiff.data import DataError, DiffSet
from small_sets import write_emoji


def emoji(folder: Path, **settings) -> DiffSet:
    data = DiffSet("emoji", data_dir=str(folder), **settings)
    data.setup()
    return data


@pytest.mark.parametrize("place", ["emoji-datasource-google", "package", "node_modules/emoji-datasource-google", "."])
def test_the_package_is_read_where_it_lies(place: str, tmp_path: Path) -> None:
    write_emoji(tmp_path / place)
    data = emoji(tmp_path)
    assert (data.num_train, data.num_val, data.class_names) == (18, 2, ("Animals & Nature", "Symbols"))
    batch = data.train_set[list(range(18))]
    assert batch["image"].shape == (18, 3, 32, 32)
    assert all(("heart" in text) == (label == 1) for text, label in zip(batch["caption"], batch["label"], strict=True))
    assert all(text == text.lower() for text in batch["caption"])
    assert torch.equal(batch["columns"]["category"], batch["label"])
    # transparent corners are white
    assert (batch["image"][..., :7, :7] == 255).all() and not (batch["image"][..., 20:, 20:] == 255).all()


def test_the_folder_with_metadata_has_the_same_images_in_the_same_order(tmp_path: Path) -> None:
    package = emoji(write_emoji(tmp_path / "package"), image_size=64)
    flat = tmp_path / "emoji"
    flat.mkdir()
    with (flat / "metadata.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["file_name", "text", "category", "subcategory"])
        for split in (package.train_set, package.val_set):
            notes = split.annotations
            for row, picture in enumerate(split[list(range(len(split)))]["image"]):
                name = f"{int(notes.captions[row].split()[-1]) * 2 + (notes.captions[row][0] == 'c'):04x}.webp"
                Image.fromarray(picture.permute(1, 2, 0).numpy()).save(flat / name, lossless=True)
                lines.writerow([name, notes.captions[row], *(c.names[c.numbers[row]] for c in notes.columns.values())])
    again = emoji(flat, image_size=64)
    for first, second in ((package.train_set, again.train_set), (package.val_set, again.val_set)):
        assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
        assert first.annotations.facts() == second.annotations.facts()


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"emoji: .*npm pack emoji-datasource-google@16\.0\.0.*dataset=digits"
    ) as caught:
        emoji(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"has_img_google": true}]', "[" * 100_000])
def test_a_damaged_list_is_one_line(content: str, tmp_path: Path) -> None:
    (write_emoji(tmp_path) / "emoji.json").write_text(content)
    with pytest.raises(DataError, match=r"emoji\.json: not the list|has 0 pictures"):
        emoji(tmp_path)
