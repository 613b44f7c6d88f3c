"""Data sets whose files are garbled or hostile: one line that names the file, code 2, and no memory spent."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from hostile import refused
from lightdiff.data import DataError, DiffSet, HuggingFace
from lightdiff.data.resize import Fit
from lightdiff.data.table_store import TableStore
from runs import TINY
from waiting import PATIENCE

Command = Callable[..., CompletedProcess[str]]
datasets.disable_progress_bars()
HUGE = 30_000_000_000
"""Bytes of a file that would fill the memory; most of them are a hole, which takes no space on the disk."""


def message(data: DiffSet) -> str:
    with pytest.raises(DataError) as caught:
        data.setup()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def enlarged(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


# -- MNIST ------------------------------------------------------------------------------------------------------------


def idx(*shape: int, magic: bytes = b"\0\0\x08", values: bytes | None = None) -> bytes:
    """An IDX file whose header says `shape`."""
    header = magic + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + (bytes(int(np.prod(shape))) if values is None else values)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
GARBLED = {
    "labels of 200": (LABELS, idx(20, values=bytes([200] * 20)), "labels from 200 to 200, but 0 to 9 are expected"),
    "more labels than images": (LABELS, idx(21), f"20 images in {IMAGES} but 21 labels in {LABELS}"),
    "images of another size": (IMAGES, idx(20, 28, 27), "values of 20 x 28 x 27, but any x 28 x 28 are expected"),
    "no images": (IMAGES, idx(0, 28, 28), "values of 0 x 28 x 28, but any x 28 x 28 are expected"),
    "a huge number": (IMAGES, idx(2**32 - 1, 28, 28, values=b""), "16 bytes, but by its header 3367254359296"),
    "half": (IMAGES, idx(20, 28, 28)[:-1], "15695 bytes, but by its header 15696"),
    "more than it says": (IMAGES, idx(20, 28, 28) + b"\0", "15697 bytes, but by its header 15696"),
    "two dimensions": (IMAGES, idx(20, 784), "no IDX file of 3 dimensions"),
    "other numbers": (IMAGES, idx(20, 28, 28, magic=b"\0\0\x0d"), "no IDX file of 3 dimensions"),
    "packed": (IMAGES, b"\x1f\x8b\x08" + bytes(100), "no IDX file of 3 dimensions"),
    "nothing": (IMAGES, b"", "no IDX file of 3 dimensions"),
    "part of a header": (LABELS, b"\0\0\x08\x01\0", "no IDX file of 1 dimensions"),
}


@pytest.mark.parametrize("name", list(GARBLED))
def test_a_garbled_mnist_is_named(name: str, mnist_dir: Path) -> None:
    file, content, expected = GARBLED[name]
    raw = mnist_dir / "MNIST" / "raw"
    (raw / file).write_bytes(content)
    said = message(DiffSet("mnist", data_dir=str(mnist_dir)))
    assert said.startswith(str(raw)) and file in said and expected in said


@pytest.mark.parametrize("conditioning", ["label", "none"])
def test_labels_beyond_the_classes_end_a_run_with_one_line(
    conditioning: str, mnist_dir: Path, command: Command, tmp_path: Path
) -> None:
    file = mnist_dir / "MNIST" / "raw" / LABELS
    file.write_bytes(GARBLED["labels of 200"][1])
    done = command("train.py", *TINY, "dataset=mnist", f"dataset.data_dir={mnist_dir}", f"conditioning={conditioning}")
    refused(done, f"{file}: labels from 200 to 200, but 0 to 9 are expected")
    assert not list(tmp_path.glob("lightning_logs/*/version_*"))


# -- files without end ------------------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
from lightdiff.data import DataError, DiffSet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    DiffSet(sys.argv[1], data_dir=sys.argv[2]).setup()
except DataError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def endless_idx(folder: Path) -> Path:
    """Its header agrees with its size."""
    file = folder / "MNIST" / "raw" / IMAGES
    file.parent.mkdir(parents=True)
    for name in (IMAGES, LABELS, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (file.parent / name).write_bytes(idx(HUGE // 784, 28, 28, values=b""))
    enlarged(file, 16 + HUGE // 784 * 784)
    return file


def endless_binary_cifar(folder: Path) -> Path:
    file = folder / "cifar-10-batches-bin" / "data_batch_3.bin"
    file.parent.mkdir(parents=True)
    for name in ("data_batch_1.bin", "data_batch_3.bin", "test_batch.bin"):
        (file.parent / name).write_bytes(bytes(3073))
    enlarged(file, HUGE // 3073 * 3073)
    return file


def endless_python_cifar(folder: Path) -> Path:
    file = folder / "cifar-10-batches-py" / "data_batch_3"
    file.parent.mkdir(parents=True)
    for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], "")]:
        (file.parent / name).touch()
    enlarged(file, HUGE)
    return file


@pytest.mark.parametrize("write", [endless_idx, endless_binary_cifar, endless_python_cifar])
def test_a_file_without_end_is_not_read(write: Callable[[Path], Path], tmp_path: Path) -> None:
    file = write(tmp_path)
    name = "mnist" if "MNIST" in str(file) else "cifar"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, name, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE
    )
    grown, _, said = done.stdout.strip().partition(" ")
    assert said.startswith(f"{file}: {file.stat().st_size} bytes, which no file of this data set has"), done.stderr
    assert int(grown) < 100_000  # kilobytes


# -- CIFAR ------------------------------------------------------------------------------------------------------------


def test_a_label_beyond_cifar_ends_a_run_with_one_line(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder / name).write_bytes((b"\x0a" + bytes(3072)) * 20)
    done = command("train.py", *TINY, "dataset=cifar", f"dataset.data_dir={tmp_path}", "conditioning=label")
    refused(done, f"{folder / 'data_batch_1.bin'}: labels from 10 to 10, but 0 to 9 are expected")


# -- Hugging Face -----------------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 10, 3), dtype=np.uint8)


def on_disk(folder: Path, labels: list[Any] | None = None) -> Path:
    features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [Image.fromarray(pixels) for pixels in PIXELS], "kind": labels or [i % 2 for i in range(12)]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(folder)
    return folder


def changed(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def table(folder: Path, **settings: Any) -> DiffSet:
    return DiffSet(
        "huggingface", source=HuggingFace(str(folder)), data_dir=str(folder.parent), image_size=8, **settings
    )


@pytest.mark.parametrize(
    "wished",
    [
        {"_format_type": "torch"},
        {"_format_type": "arrow"},
        {"_format_type": "pandas"},
        {"_format_type": "custom", "_format_kwargs": {"transform": "os.system"}},
        {"_format_columns": ["kind"]},
        {"_output_all_columns": "yes"},
        {"_fingerprint": 3},
    ],
)
def test_how_rows_were_to_be_shown_changes_nothing(wished: dict[str, Any], tmp_path: Path) -> None:
    data = table(on_disk(tmp_path / "mine"))
    data.setup()
    changed(tmp_path / "mine" / "state.json", **wished)
    same = table(tmp_path / "mine")
    same.setup()
    assert torch.equal(same.train_set[range(11)]["image"], data.train_set[range(11)]["image"])
    assert same.train_set.labels.tolist() == data.train_set.labels.tolist()


STATES: list[Any] = [
    *({"_format_type": value} for value in ("custom", "nope", "jax", 3, [], {})),
    *({"_data_files": value} for value in (3, [], [{}], [{"filename": 3}], [{"filename": "/dev/zero"}])),
    *({"_format_columns": value} for value in (3, ["nope"])),
    *({"_split": value} for value in (3, {"a": 1})),
]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_an_odd_state_is_named(state: dict[str, Any], tmp_path: Path) -> None:
    changed(on_disk(tmp_path / "mine") / "state.json", **state)
    assert message(table(tmp_path / "mine")).startswith(f"source.path={tmp_path / 'mine'}: ")


@pytest.mark.parametrize("content", ["[]", "{}", "[" * 100_000, "\udcff\udcfe"], ids=["list", "empty", "deep", "bytes"])
@pytest.mark.parametrize("file", ["state.json", "dataset_info.json"])
def test_garbled_facts_are_named(file: str, content: str, tmp_path: Path) -> None:
    (on_disk(tmp_path / "mine") / file).write_bytes(content.encode(errors="surrogateescape"))
    if (file, content) == ("dataset_info.json", "{}"):
        # all facts are in the table as well
        table(tmp_path / "mine").setup()
        return
    assert message(table(tmp_path / "mine")).startswith(f"source.path={tmp_path / 'mine'}: ")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat"], "source.label_column: labels from 0 to 1, but 0 to 0 are expected"),
        (["cat", "cat"], "source.path="),
        (None, "source.path="),
        ({"cat": 1}, "source.path="),
        ([1, 2], ("1", "2")),
        (["\ud800", "a\nb"], ("\\ud800", "a\\nb")),
    ],
)
def test_odd_names_of_classes(names: Any, expected: str | tuple[str, ...], tmp_path: Path) -> None:
    file = on_disk(tmp_path / "mine") / "dataset_info.json"
    facts = json.loads(file.read_text())
    facts["features"]["kind"]["names"] = names
    file.write_text(json.dumps(facts))
    data = table(tmp_path / "mine")
    if isinstance(expected, str):
        assert message(data).startswith(expected)
    else:
        data.setup()
        assert data.class_names == expected


def test_rows_without_a_label_are_named(tmp_path: Path) -> None:
    without_label = table(on_disk(tmp_path / "mine", labels=[None, *[1] * 11]))
    assert message(without_label) == "source.label_column: there are images without a label"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (None, "there is no image in this row"),
        ({"bytes": b"", "path": None}, "there is no image in this row"),
        ({"bytes": None, "path": "a\0b.png"}, "embedded null byte"),
        ({"bytes": None, "path": "{folder}/gone.png"}, "/gone.png: no such file"),
        ({"bytes": None, "path": "{folder}/pipe.png"}, "/pipe.png: no such file"),
        (3, "'int' object has no attribute 'get'"),
    ],
)
def test_a_row_without_an_image_is_named(entry: Any, expected: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    if isinstance(entry, dict) and entry["path"]:
        entry = {**entry, "path": entry["path"].format(folder=tmp_path)}
    settings = {"channels": 3, "fit": Fit((8, 8)), "max_pixels": 10_000}
    store = TableStore([{"image": entry}], torch.zeros(1), folder=tmp_path, split="train", **settings)  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        store.read(0)
    assert str(caught.value).startswith("image 0 of split train: ") and str(caught.value).endswith(expected)


def test_the_command_names_the_key_of_a_garbled_table(tmp_path: Path, command: Command) -> None:
    changed(on_disk(tmp_path / "mine") / "state.json", _format_type="custom")
    of_table = ("dataset=huggingface", f"dataset.source.path={tmp_path / 'mine'}", "dataset.image_size=8")
    refused(command("train.py", *TINY, *of_table), f"error: dataset.source.path={tmp_path / 'mine'}: ")
    assert not list(tmp_path.glob("lightning_logs/*/version_*"))
