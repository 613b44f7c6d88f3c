"""Which files of a folder are images, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image, features

from lightdiff.data import DataError, DiffSet, Folder
from lightdiff.data.formats import image_suffixes
from lightdiff.data.listing import in_words, list_images
from lightdiff.jobs.summary import data_summary

PIXELS = torch.full((8, 8, 3), 200, dtype=torch.uint8)


def test_the_line_of_the_issue(tmp_path: Path, write_image) -> None:
    outside = write_image(tmp_path / "outside" / "other.png", PIXELS)
    root = tmp_path / "photos"
    for name, number in (("train/cat", 5), ("train/dog", 4), ("val/cat", 2), ("val/dog", 1)):
        for i in range(number):
            write_image(root / name / f"{i}.png", PIXELS)
    for i in range(10):
        (root / "train" / "cat" / f"{i}.xcf").write_bytes(b"")
    for i in range(12):
        (root / "train" / "dog" / f"link{i}.png").symlink_to(outside)
    data = DiffSet("folder", data_dir=str(root), image_size=8)
    data.setup()
    assert data_summary(data) == (
        "data:       9 training images, 3 to validate on, 2 classes (cat, dog); left out: 10 .xcf, 12 links that lead outside"
    )


def test_images_kept_apart_and_images_that_cannot_be_read_are_counted(tmp_path: Path, write_image) -> None:
    for split in ("train", "val", "test"):
        for i in range(2):
            write_image(tmp_path / split / f"{i}.png", PIXELS)
    (tmp_path / "train" / "broken.png").write_bytes(b"no image")
    data = DiffSet("folder", data_dir=str(tmp_path), image_size=8, on_corrupted="skip")
    data.setup()
    assert data_summary(data) == (
        "data:       2 training images, 2 to validate on, 2 kept apart for tests, 1 class (image); "
        "left out: 1 image that cannot be read"
    )


def test_other_data_sets_have_the_line_too() -> None:
    data = DiffSet("digits")
    data.setup()
    names = ", ".join("0123456789")
    assert data_summary(data) == f"data:       1,617 training images, 180 to validate on, 10 classes ({names})"


WRITABLE = {
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".JPG": "JPEG",
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
    ".j2k": "JPEG2000",
    ".tga": "TGA",
    ".pcx": "PCX",
    ".dib": "DIB",
    ".dds": "DDS",
    ".sgi": "SGI",
    ".pbm": "PPM",
    ".webp": "WEBP",
    ".apng": "PNG",
}


@pytest.mark.parametrize("suffix", WRITABLE)
def test_formats_that_pillow_reads_are_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 2, (16, 16, 1), generator=generator, dtype=torch.uint8).expand(-1, -1, 3) * 255
    smooth = pixels.repeat_interleave(4, 0).repeat_interleave(4, 1)
    for i in range(2):
        Image.fromarray(smooth.numpy()).save(tmp_path / f"{i}{suffix}", format=WRITABLE[suffix])
    data = DiffSet("folder", data_dir=str(tmp_path), image_size=64)
    data.setup()
    read = data.train_set[[0]]["image"][0].permute(1, 2, 0)
    assert (read.int() - smooth.int()).abs().float().mean() < 20


def test_what_is_no_still_picture_is_not_taken() -> None:
    assert (
        not {".pdf", ".eps", ".ps", ".mpo", ".h5", ".hdf", ".wmf", ".mpg", ".fits", ".grib", ".txt"} & image_suffixes()
    )
    usual = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
    assert usual | {".jfif", ".jpe", ".tga", ".jp2"} <= image_suffixes()


def test_only_the_most_frequent_suffixes_are_named(tmp_path: Path) -> None:
    for number, suffix in enumerate("abcdefg", start=1):
        for i in range(number):
            (tmp_path / f"{i}.{suffix}").write_bytes(b"")
    (tmp_path / "LICENSE").write_bytes(b"")
    words = in_words(list_images(tmp_path).left_out)
    assert words == "7 .g, 6 .f, 5 .e, 4 .d, 3 .c, 3 other files, 1 file without a suffix"


def test_links_are_followed_where_the_user_says_so(tmp_path: Path, write_image) -> None:
    kept = tmp_path / "kept"
    for i in range(3):
        write_image(kept / f"{i}.png", PIXELS)
    root = tmp_path / "photos"
    write_image(root / "a" / "0.png", PIXELS)
    write_image(root / "c" / "0.png", PIXELS)
    (root / "b").symlink_to(kept)
    (root / "a" / "1.png").symlink_to(kept / "1.png")
    (root / "a" / "round").symlink_to(root)
    (root / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = list_images(root)
    assert found.images == ["a/0.png", "c/0.png"]
    assert set(in_words(found.left_out).split(", ")) == {
        *("1 broken link", "1 link to a folder", "2 links that lead outside")
    }
    followed = list_images(root, follow_links=True)
    assert followed.images == ["a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/2.png", "c/0.png"]
    assert sum(followed.left_out.values()) == 2
    data = DiffSet("folder", data_dir=str(root), image_size=8, source=Folder(follow_links=True))
    assert data.find_class_names() == ("a", "b", "c")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, write_image, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a" / "0.png", PIXELS)
    scandir = os.scandir

    def refusing(path: str):
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"^data_dir=.*: the folder .*a cannot be read \(Permission denied\)$"):
        list_images(tmp_path)


def test_too_few_images_say_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"^data_dir=.*: 0 images; left out: 1 \.zip; at least 2 are needed"):
        DiffSet("folder", data_dir=str(tmp_path)).find()
