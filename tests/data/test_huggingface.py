"""Data sets in the formats of the package datasets: tables on disk, Parquet files, image folders; the hub is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.data import DataError, DiffSet, HuggingFace
from lightdiff.data.image_store import MemoryStore

datasets.disable_progress_bars()
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 10, 3), dtype=np.uint8)


def table(rows: range, label: Any = None, image: str = "image") -> datasets.Dataset:
    label = label or datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"id": datasets.Value("int64"), "kind": label, image: datasets.Image()})
    kinds = [i % 2 if isinstance(label, datasets.ClassLabel) else ("b", "a")[i % 2] for i in rows]
    images = [Image.fromarray(PIXELS[i]) for i in rows]
    return datasets.Dataset.from_dict({"id": list(rows), "kind": kinds, image: images}, features=features)


def diffset(path: Path | str, data_dir: Path, **settings: Any) -> DiffSet:
    own = {"batch_size": 4, "image_size": (8, 10), "max_memory_gb": settings.pop("max_memory_gb", 4.0)}
    data = DiffSet("huggingface", source=HuggingFace(str(path), **settings), data_dir=str(data_dir), **own)
    data.setup()
    return data


def on_disk(folder: Path) -> Path:
    splits = datasets.DatasetDict({"train": table(range(8)), "test": table(range(8, 12))})
    splits.save_to_disk(folder)
    return folder


def parquet(folder: Path) -> Path:
    for name, rows in (("train", range(8)), ("test", range(8, 12))):
        table(rows).to_parquet(folder / f"{name}-00000-of-00001.parquet")
    return folder


def images(folder: Path) -> Path:
    for i in range(12):
        place = folder / ("train" if i < 8 else "test") / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).save(place / f"{i:02d}.png")
    return folder


def in_order(pixels: torch.Tensor) -> list[bytes]:
    return sorted(image.numpy().tobytes() for image in pixels)


@pytest.mark.parametrize("write", [on_disk, parquet, images])
@pytest.mark.parametrize("max_memory_gb", [4.0, 0.0])
def test_every_local_format_gives_the_same_images(
    write: Callable[[Path], Path], max_memory_gb: float, tmp_path: Path
) -> None:
    data = diffset(write(tmp_path / "mine"), tmp_path, max_memory_gb=max_memory_gb)
    assert data.class_names == ("cat", "dog")
    assert isinstance(data.train_set, MemoryStore) == (max_memory_gb > 0)
    expected = torch.from_numpy(PIXELS).movedim(-1, 1)
    for store, rows in ((data.train_set, range(8)), (data.val_set, range(8, 12))):
        batch = store[range(len(rows))]
        assert in_order(batch["image"]) == in_order(expected[list(rows)])
        for image, label in zip(batch["image"], batch["label"], strict=True):
            row = next(i for i in rows if torch.equal(expected[i], image))
            assert label == row % 2
    assert next(iter(data.train_dataloader()))["image"].shape == (4, 3, 8, 10)


def test_labels_of_other_kinds_become_numbers(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    table(range(12), datasets.Value("string"), image="photo").to_parquet(tmp_path / "mine" / "all.parquet")
    named = diffset(tmp_path / "mine", tmp_path, label_column="kind")
    assert named.class_names == ("a", "b")
    labels = torch.cat([named.train_set.labels, named.val_set.labels])
    assert sorted(labels.tolist()) == [0] * 6 + [1] * 6
    assert (len(named.train_set), len(named.val_set)) == (11, 1)  # a tenth of 12, by the same rule as dataset=folder
    without = diffset(tmp_path / "mine", tmp_path)
    assert without.class_names == ("image",) and without.train_set.labels.tolist() == [0] * 11


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_split": "trian"}, "source.train_split=trian: no such split; did you mean train"),
        ({"val_split": "dev"}, "source.val_split=dev: no such split; choices: test, train"),
        ({"image_column": "photo"}, "source.image_column=photo: no such column; choices: id, image, kind"),
        ({"label_column": "kinds"}, "source.label_column=kinds: no such column; did you mean kind"),
    ],
)
def test_names_that_are_not_there_are_reported(settings: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        diffset(on_disk(tmp_path / "mine"), tmp_path, **settings)


def test_tables_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    on_disk(tmp_path / "mine")
    with pytest.raises(DataError, match=r"image 0 of split train: 10x8 pixels are more than max_pixels=10 allows"):
        diffset(tmp_path / "mine", tmp_path, max_pixels=10)
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "texts")
    with pytest.raises(DataError, match="no column of images; columns: text"):
        diffset(tmp_path / "texts", tmp_path)
    bad = datasets.Features({"image": datasets.Image(decode=False)})
    rows = [{"bytes": b"garbled", "path": None}] * 4
    datasets.Dataset.from_dict({"image": rows}, features=bad).save_to_disk(tmp_path / "garbled")
    with pytest.raises(DataError, match=r"image \d of split train: not a readable image"):
        diffset(tmp_path / "garbled", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"source.path=.*empty"):
        diffset(tmp_path / "empty", tmp_path)


def test_a_file_outside_of_the_folder_is_not_read(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[0]).save(tmp_path / "private.png")
    features = datasets.Features({"image": datasets.Image(decode=False)})
    for path in (tmp_path / "private.png", tmp_path / "mine" / ".." / "private.png"):
        rows = [{"bytes": None, "path": str(path)}] * 4
        (tmp_path / "mine").mkdir(exist_ok=True)
        datasets.Dataset.from_dict({"image": rows}, features=features).to_parquet(tmp_path / "mine" / "all.parquet")
        with pytest.raises(DataError, match=r"image \d of split train: .*private\.png leads out of .*mine"):
            diffset(tmp_path / "mine", tmp_path)


def test_one_of_the_hub_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def hub(*arguments: Any) -> datasets.DatasetDict:
        asked.append(arguments)
        return datasets.DatasetDict({"train": table(range(12))})

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", hub)
    for _ in range(2):
        source = HuggingFace("someone/pets", config_name="small")
        data = DiffSet("huggingface", source=source, data_dir=str(tmp_path), image_size=8, batch_size=4)
        data.prepare_data()
        data.setup()
        assert len(data.train_set) + len(data.val_set) == 12
    assert asked == [("someone/pets", "small")]
    assert (tmp_path / "huggingface" / "someone--pets--small" / "dataset_dict.json").is_file()


def test_without_a_network_the_answer_comes_within_seconds(
    waited: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("http", "https"):  # nobody listens there
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    data = DiffSet("huggingface", source=HuggingFace("someone/pets"), data_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"source.path=someone/pets: no local folder, not in .*, and the hub"):
        data.prepare_data()
    assert sum(waited) < 10


def with_texts(folder: Path) -> Path:
    def texts(rows: range) -> datasets.Dataset:
        made = table(rows).add_column("text", [f"number {i}" for i in rows])
        return made.add_column("tone", [("warm", None, "cold")[i % 3] for i in rows])

    datasets.DatasetDict({"train": texts(range(8)), "test": texts(range(8, 12))}).save_to_disk(folder)
    return folder


def test_captions_and_columns(tmp_path: Path) -> None:
    path = with_texts(tmp_path / "texts")
    data = diffset(path, tmp_path, columns=["tone", "kind"])
    (image,) = [i for i in range(8) if np.array_equal(PIXELS[i], data.train_set.images[3].permute(1, 2, 0).numpy())]
    batch = data.train_set[[3]]
    assert batch["caption"] == [f"number {image}"]
    assert {name: column.names for name, column in data.train_set.annotations.columns.items()} == {
        "tone": ("cold", "warm"),
        "kind": ("cat", "dog"),
    }
    assert batch["columns"]["tone"].tolist() == [{0: 1, 1: -1, 2: 0}[image % 3]]
    assert batch["columns"]["kind"].tolist() == batch["label"].tolist()
    assert "columns" not in diffset(path, tmp_path).val_set[[0]]
    assert diffset(path, tmp_path, text_column="tone").val_set.annotations.captions == ["cold", "warm", "", "cold"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_column": "title"}, r"^source\.text_column=title: no such column; "),
        ({"columns": ["tome"]}, r"^source\.columns=tome: no such column; .*tone"),
        ({"columns": ["image"]}, r"^source\.columns=image: a column of texts or numbers is expected"),
    ],
)
def test_columns_that_are_not_there(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        diffset(with_texts(tmp_path / "texts"), tmp_path, **settings)
