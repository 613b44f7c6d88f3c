"""Images that do not fit the settings: a mistake in the configuration, in one line that names the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from own_photos import OWN, write_photos
from refusals import check_refused

Command = Callable[..., CompletedProcess[str]]
SMALL = (*OWN, "model=unet_small", "model.widths=[8,8]")
MISFITS = {
    "dataset.resize_mode=none": "dataset.resize_mode=none: an image of 20x24 is not 16x16 (height x width); choices: pad, ",
    "dataset.resize_mode=pad": "dataset.resize_mode=pad: an image of 20x24 does not fit into 16x16",
    "dataset.data_dir=nowhere": "dataset.data_dir=nowhere: no such folder",
    "dataset.data_dir=photos/empty": "dataset.data_dir=photos/empty: 0 images",
}


@pytest.mark.parametrize("memory", ["dataset.max_memory_gb=4", "dataset.max_memory_gb=0"])
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("override", list(MISFITS))
def test_images_that_do_not_fit_are_a_wrong_setting(
    override: str, memory: str, workers: int, command: Command, tmp_path: Path
) -> None:
    write_photos(tmp_path / "photos", each=8)
    (tmp_path / "photos" / "empty").mkdir()
    done = command("train.py", *SMALL, memory, f"dataset.num_workers={workers}", override)
    check_refused(done, f"error: {MISFITS[override]}")
    assert [*tmp_path.glob("lightning_logs/*/*")] == []


@pytest.mark.parametrize("memory", ["dataset.max_memory_gb=4", "dataset.max_memory_gb=0"])
@pytest.mark.parametrize("override", list(MISFITS))
def test_they_are_when_a_model_is_measured(override: str, memory: str, command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", each=8)
    (tmp_path / "photos" / "empty").mkdir()
    assert command("train.py", *SMALL, "dataset.resize_mode=crop").returncode == 0
    data = ("dataset=folder", "dataset.data_dir=photos", "dataset.image_size=16", "extractor.dataset=cifar", memory)
    done = command("eval.py", "ckpt_path=lightning_logs/folder/version_0", *data, override, "num_samples=4")
    check_refused(done, f"error: {MISFITS[override]}")


def test_a_broken_image_is_named(command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", each=8)
    (tmp_path / "photos" / "red" / "00.png").write_bytes(b"nothing")
    done = command("train.py", *SMALL, "dataset.resize_mode=crop")
    assert done.returncode == 2 and "photos/red/00.png: " in done.stderr
