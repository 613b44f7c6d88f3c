"""Captions and columns of a folder, from metadata.csv or metadata.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightdiff.data import DataError, DiffSet, Folder
from lightdiff.data.fingerprint import SplitFacts

LINES = [(f"{i:02d}.png", f"caption of {i}", ("warm", "cold", "")[i % 3]) for i in range(24)]


def pictures(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (10 * i, 0, 0)).save(folder / name)


def write_csv(folder: Path, lines: list[tuple[str, ...]], columns: str = "file_name,text,tone") -> None:
    (folder / "metadata.csv").write_text("\n".join([columns, *map(",".join, lines)]), encoding="utf-8")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 images, number i with the level 10 i of red, its caption and, but for every third, a tone."""
    pictures(tmp_path, [name for name, *_ in LINES])
    write_csv(tmp_path, LINES)
    return tmp_path


def data_set(folder: Path, source: dict | None = None, **settings) -> DiffSet:
    made = {"image_size": 8, "batch_size": 5, **settings}
    data = DiffSet("folder", source=Folder(**(source or {})), data_dir=str(folder), **made)
    data.setup()
    return data


def fits(batch: dict) -> bool:
    """Whether captions and columns of a batch are those of its images."""
    numbers = [int(image[0, 0, 0]) // 10 for image in batch["image"]]
    tones = [{"cold": 0, "warm": 1, "": -1}[LINES[i][2]] for i in numbers]
    return batch["caption"] == [LINES[i][1] for i in numbers] and batch["columns"]["tone"].tolist() == tones


@pytest.mark.parametrize("settings", [{}, {"max_memory_gb": 0}, {"max_memory_gb": 0, "num_workers": 1}])
def test_captions_and_columns_follow_the_images(settings: dict, photos: Path) -> None:
    data = data_set(photos, **settings)
    assert data.train_set.annotations.columns["tone"].names == ("cold", "warm")
    batches = [*data.train_dataloader(), *data.val_dataloader()]
    assert len(batches) > 4 and all(map(fits, batches))
    assert batches[0]["columns"]["tone"].dtype == torch.int64
    assert not data.splits.left_out


def test_they_follow_on_another_device_and_where_images_are_left_out(photos: Path) -> None:
    data = data_set(photos)
    assert fits(data.train_set.on(torch.device("cpu"))[[3, 0]])
    (photos / "05.png").write_bytes(b"no image")
    left = data_set(photos, on_corrupted="skip")
    assert left.num_train + left.num_val == 23
    assert all(map(fits, [*left.train_dataloader(), *left.val_dataloader()]))


def test_lines_of_json_say_the_same(photos: Path) -> None:
    before = data_set(photos)
    lines = [{"file_name": name, "text": text, "tone": tone or None, "boxes": [1]} for name, text, tone in LINES]
    (photos / "metadata.csv").unlink()
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = data_set(photos)
    assert SplitFacts.of(data.train_set) == SplitFacts.of(before.train_set)
    assert list(data.train_set.annotations.columns) == ["tone"]


def test_each_split_may_have_its_own(tmp_path: Path) -> None:
    pictures(tmp_path, ["train/a.png", "train/b.png", "val/a.png"])
    write_csv(tmp_path / "train", [("a.png", "first", "x"), ("b.png", "second", "y")])
    write_csv(tmp_path / "val", [("a.png", "third", "y")])
    data = data_set(tmp_path, batch_size=None)
    assert data.train_set.annotations.captions == ["first", "second"]
    assert data.val_set.annotations.captions == ["third"]
    # numbered over all images
    assert data.val_set.annotations.columns["tone"].numbers.tolist() == [1]


def test_they_belong_to_what_a_run_remembers_of_its_data(photos: Path) -> None:
    before = SplitFacts.of(data_set(photos).train_set)
    without = SplitFacts.of(data_set(photos, {"metadata": None}).train_set)
    write_csv(photos, [(name, f"{text}!", tone) for name, text, tone in LINES])
    assert before not in (without, SplitFacts.of(data_set(photos).train_set))
    (photos / "metadata.csv").unlink()
    assert SplitFacts.of(data_set(photos).train_set) == without


def test_columns_are_chosen_and_captions_may_have_another_name(photos: Path) -> None:
    write_csv(photos, [(name, text, tone, name) for name, text, tone in LINES], "file_name,title,tone,id")
    data = data_set(photos, {"text_column": "title", "columns": ["tone"]})
    assert data.train_set[[0]]["caption"] == ["caption of 0"]
    assert list(data.train_set[[0]]["columns"]) == ["tone"]
    assert "caption" not in data_set(photos).train_set[[0]]
    with pytest.raises(DataError, match=r"metadata.csv: no column colour; columns: title, tone, id$"):
        data_set(photos, {"columns": ["colour"]})


def wrong(folder: Path, content: str, name: str = "metadata.csv") -> str:
    (folder / name).write_text(content, encoding="latin-1")
    with pytest.raises(DataError) as caught:
        data_set(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_one_line(photos: Path) -> None:
    head = "file_name,text\n"
    assert "23 of 24 images have no line in metadata.csv: 01.png, 02.png, 03.png" in wrong(photos, head + "00.png,a")
    assert "other.png: no such image" in wrong(photos, head + "other.png,a")
    assert "line 2 has no file_name" in wrong(photos, "name,text\n00.png,a")
    assert "line 2 has more fields" in wrong(photos, head + "00.png,a,b")
    assert "metadata.csv: cannot be read" in wrong(photos, head + "00.png,\xff")
    assert "dataset.source.metadata=null ignores it" in wrong(photos, head + '00.png,"a')
    assert "metadata.csv and metadata.jsonl; keep one" in wrong(photos, "", "metadata.jsonl")
    (photos / "metadata.csv").unlink()
    assert "metadata.jsonl: line 1 is no object of JSON" in wrong(photos, "[1]", "metadata.jsonl")
    assert "metadata.jsonl: cannot be read" in wrong(photos, "{", "metadata.jsonl")
    (photos / "metadata.jsonl").unlink()
    with pytest.raises(
        DataError, match=r"^dataset.source.text_column=title: there is no metadata.csv or metadata.jsonl"
    ):
        data_set(photos, {"text_column": "title"})
