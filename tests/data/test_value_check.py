"""A data set that uses little of its range is named in one line, and mapped where the user gives the range."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from lightdiff.data import DataError, DiffSet, Folder
from runs import TINY
from tiff import write_tiff

LEVELS = np.linspace(0, 255, 64).round().reshape(8, 8)
NUMBER = 20


def folder(path: Path, **settings: object) -> DiffSet:
    source = Folder(range=settings.pop("range", None))  # type: ignore[arg-type]
    data = DiffSet("folder", source=source, data_dir=str(path), **{"image_size": 8, "channels": 1, **settings})  # type: ignore[arg-type]
    data.setup()
    return data


def tiffs(path: Path, scale: float, kind: str, *, start: float = 0) -> Path:
    for number in range(NUMBER):
        write_tiff(path / f"{number}.tif", (LEVELS * scale + start).astype(kind))
    return path


@pytest.mark.parametrize("max_memory_gb", [4, 0])
def test_twelve_bits_in_sixteen_are_named_and_mapped(
    max_memory_gb: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiffs(tmp_path, 4095 / 255, "u2")
    narrow = folder(path, max_memory_gb=max_memory_gb)
    (line,) = [record.getMessage() for record in caplog.records]
    assert narrow.warnings == [line]
    assert line == (
        "dataset.source.range: the values of the uint16 images go from 0 to 4095, and black to white from 0 to 65535, so "
        "that they look almost uniform; dataset.source.range=[0,4095] would spread them (16 of 18 training images were "
        "looked at)"
    )
    caplog.clear()
    mapped = folder(path, range=(0, 4095), max_memory_gb=max_memory_gb)
    assert not caplog.records and mapped.warnings == []
    assert np.abs(mapped.train_set[[0]]["image"][0, 0].numpy() - LEVELS).max() <= 1


@pytest.mark.parametrize(
    ("scale", "kind", "start", "value_range"),
    [
        (16.1, "u2", 0, None),
        (257, "u2", 0, None),
        (1, "u1", 0, None),
        (1 / 255, "f4", 0, (0, 1)),
        (1, "f4", -9, (0, 300)),
    ],
)
def test_a_set_that_uses_its_range_is_not_named(scale, kind, start, value_range, tmp_path: Path) -> None:
    assert folder(tiffs(tmp_path, scale, kind, start=start), range=value_range).warnings == []


@pytest.mark.parametrize(
    ("scale", "kind", "value_range", "expected"),
    [
        (
            3 / 255,
            "u1",
            None,
            "dataset.source.range: the values of the uint8 images go from 0 to 3, .*=\\[0,3\\] would",
        ),
        (257, "f4", (0, 1), "dataset.source.range=\\[0,1\\]: the values of the float32 images go from 0 to 65535, "),
        (1 / 255, "f4", (5, 6), "dataset.source.range=\\[5,6\\]: the values of the float32 images go from 0 to 1, "),
        (0, "u2", None, "the values of the uint16 images go from 0 to 0, .* so that they look almost uniform \\("),
    ],
)
def test_masks_and_other_ranges_are_named(scale, kind, value_range, expected: str, tmp_path: Path, caplog) -> None:
    folder(tiffs(tmp_path, scale, kind), range=value_range)
    (record,) = caplog.records
    assert re.search(expected, record.getMessage())


def test_colours_of_twelve_bits_in_sixteen_are_named(tmp_path: Path) -> None:
    for number in range(NUMBER):
        write_tiff(tmp_path / f"{number}.tif", np.stack([LEVELS * 4095 / 255] * 3, -1).astype("u2"))
    (line,) = folder(tmp_path, channels=3).warnings
    assert line.startswith("dataset.source.range: the values of the colour images go from 0 to 15, ")
    assert line.endswith("so that they look almost uniform (16 of 18 training images were looked at)")


def test_images_that_cannot_be_read_are_passed_over(tmp_path: Path, caplog) -> None:
    tiffs(tmp_path, 4095 / 255, "u2")
    for number in range(NUMBER):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    data = folder(tmp_path, max_memory_gb=0)
    assert len(data.warnings) == 1


def test_numbers_without_a_range_are_refused_or_left_out(tmp_path: Path, caplog) -> None:
    tiffs(tmp_path, 1 / 255, "f4")
    with pytest.raises(
        DataError, match=r"\.tif: float32 has no range of its own, the values here go from 0 to 1; give "
    ):
        folder(tmp_path)
    with pytest.raises(
        DataError, match=r"none of the 18 images can be read, the first: .*dataset\.source\.range=\[a,b\]"
    ):
        folder(tmp_path, on_corrupted="skip")
    for number in range(4):
        Image.new("L", (8, 8), 40 * number).save(tmp_path / f"{number}.png")
    assert folder(tmp_path, on_corrupted="skip").num_train < 5


@pytest.mark.parametrize("value_range", [(1, 0), (1, 1), (0, float("inf")), (float("nan"), 1), (1,), (0, 1, 2)])
def test_an_impossible_range_is_refused(value_range) -> None:
    with pytest.raises(ValueError, match=r"^range=\[.*\]: two numbers \[a,b\] are expected"):
        Folder(range=value_range)


def test_the_fingerprint_of_files_depends_on_the_range(tmp_path: Path) -> None:
    path = tiffs(tmp_path, 1 / 255, "f4")
    stores = [folder(path, range=value_range, max_memory_gb=0).train_set for value_range in ((0, 1), (0, 2), (0, 1))]
    assert stores[0].fingerprint == stores[2].fingerprint != stores[1].fingerprint


# -- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def float_folder(tmp_path: Path) -> list[str]:
    tiffs(tmp_path / "scans", 2 / 255, "f4", start=-1)
    of_folder = (
        "dataset=folder",
        f"dataset.data_dir={tmp_path / 'scans'}",
        "dataset.image_size=8",
        "dataset.channels=1",
    )
    tiny = [argument for argument in TINY if not argument.startswith(("dataset=", "dataset.batch"))]
    return [*tiny, *of_folder, "dataset.batch_size=4", "dataset.num_workers=0", "callbacks=no_samples"]


Command = Callable[..., CompletedProcess[str]]


def test_train_and_eval_read_alike(float_folder: list[str], command: Command, tmp_path: Path) -> None:
    done = command("train.py", *float_folder)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "float32 has no range of its own, the values here go from -1 to 1; give" in done.stderr
    assert not list(tmp_path.glob("lightning_logs/*/version_*"))
    done = command("train.py", *float_folder, "dataset.source.range=[0,1,2]")
    assert done.returncode == 2 and "dataset.source.range=[0, 1, 2]: " in done.stderr
    done = command("train.py", *float_folder, "dataset.source.range=[-1,1]", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    assert "range" not in done.stdout
    # the real images of eval.py come by the same function, with the range that the checkpoint describes
    run = tmp_path / "lightning_logs" / "folder" / "version_0"
    done = command("eval.py", f"ckpt_path={run}", "num_samples=4", "metrics=[is]", "batch_size=4")
    assert "has no range" not in done.stderr


def test_a_narrow_set_is_named_at_the_start_of_a_run(float_folder: list[str], command: Command, tmp_path: Path) -> None:
    done = command("train.py", *float_folder, "dataset.source.range=[-100,100]", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert "dataset.source.range=[-100,100]: the values of the float32 images go from -1 to 1, " in line
    (log,) = tmp_path.glob("lightning_logs/folder/version_0/train.log")
    assert log.read_text().count("dataset.source.range=[-100,100]: ") == 1
