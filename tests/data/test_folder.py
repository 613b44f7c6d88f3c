"""Directories of images."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from lightdiff.data import DataError, DiffSet, Folder
from lightdiff.data.file_store import FileStore
from lightdiff.data.image_store import MemoryStore
from waiting import until


def folder(path: Path, **arguments) -> DiffSet:
    data = DiffSet("folder", data_dir=str(path), **{"image_size": 16, "batch_size": 6, **arguments})
    data.setup()
    return data


def batches(loader) -> list[dict[str, torch.Tensor]]:
    return list(loader)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("channels", "size", "mode"), [(3, 16, "crop"), (1, [12, 20], "resize")])
def test_read_lazily_gives_the_same_batches_as_in_memory(photos: Path, num_workers, channels, size, mode) -> None:
    settings = {"channels": channels, "image_size": size, "resize_mode": mode}
    memory = folder(photos, **settings)
    lazy = folder(photos, **settings, max_memory_gb=0, num_workers=num_workers)
    assert isinstance(memory.train_set, MemoryStore) and isinstance(lazy.train_set, FileStore)
    for split in ("train_dataloader", "val_dataloader"):
        kept, read = getattr(memory, split)(), getattr(lazy, split)()
        for _ in range(2):  # the workers outlive a pass
            for one, other in zip(batches(kept), batches(read), strict=True):
                assert one["image"].dtype == torch.uint8
                assert torch.equal(one["image"], other["image"]) and torch.equal(one["label"], other["label"])


def test_what_does_not_fit_into_the_memory_allowed_is_read_lazily(photos: Path) -> None:
    needed = 24 * 3 * 16 * 16
    assert isinstance(folder(photos, max_memory_gb=needed / 2**30).train_set, MemoryStore)
    assert isinstance(folder(photos, max_memory_gb=(needed - 1) / 2**30).train_set, FileStore)


def test_sub_folders_are_classes_also_where_images_lie_deeper(photos: Path) -> None:
    data = folder(photos, max_memory_gb=0, source=Folder(val_fraction=0.25))
    assert data.class_names == ("bird", "cat", "dog")
    assert (data.num_train, data.num_val) == (18, 6)
    for store in (data.train_set, data.val_set):
        expected = [data.class_names.index(file.split("/")[0]) for file in store.files]
        assert store.labels.tolist() == expected
    assert sorted(data.train_set.files + data.val_set.files) == sorted(
        str(path.relative_to(photos)) for path in photos.rglob("*.*")
    )


def test_images_without_sub_folders_are_one_class(tmp_path: Path, write_image, random_pixels) -> None:
    for number in range(4):
        write_image(tmp_path / f"{number}.png", random_pixels(8, 8, 3))
    data = folder(tmp_path, batch_size=2)
    assert data.class_names == ("image",)
    assert data.train_set.labels.tolist() == [0, 0, 0]


def test_links_out_of_the_folder_hidden_files_and_other_files_are_left_out(
    tmp_path: Path, photos: Path, write_image, random_pixels
) -> None:
    outside = write_image(tmp_path / "outside" / "secret.png", random_pixels(8, 8, 3))
    (photos / "bird" / "link.png").symlink_to(outside)
    (photos / "linked_folder").symlink_to(outside.parent)
    (photos / "bird" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    write_image(photos / "bird" / ".hidden.png", random_pixels(8, 8, 3))
    write_image(photos / ".thumbnails" / "00.png", random_pixels(8, 8, 3))
    (photos / "bird" / "notes.txt").write_text("no image")
    data = folder(photos, max_memory_gb=0)
    assert data.num_train + data.num_val == 24
    assert data.class_names == ("bird", "cat", "dog")


def test_a_link_within_the_folder_is_followed(photos: Path) -> None:
    (photos / "cat" / "again.png").symlink_to(photos / "bird" / "00.png")
    data = folder(photos)
    assert data.num_train + data.num_val == 25


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corrupted_image_is_named_in_one_line(photos: Path, num_workers: int) -> None:
    (photos / "cat" / "01.jpg").write_bytes(b"no image")
    message = r"^\S*cat/01\.jpg: not a readable image[^\n]*$"
    with pytest.raises(DataError, match=message):
        folder(photos)
    lazy = folder(photos, max_memory_gb=0, num_workers=num_workers, batch_size=2)
    with pytest.raises(DataError, match=message):
        for loader in (lazy.train_dataloader(), lazy.val_dataloader()):
            batches(loader)
    lazy.teardown()


@pytest.mark.parametrize("max_memory_gb", [0, 4])
def test_corrupted_images_are_left_out_and_named(
    photos: Path, max_memory_gb: float, caplog: pytest.LogCaptureFixture
) -> None:
    before = images_of(folder(photos, max_memory_gb=max_memory_gb))
    (photos / "cat" / "01.jpg").write_bytes(b"no image")
    (photos / "dog" / "small" / "02.png").write_bytes((photos / "dog" / "small" / "02.png").read_bytes()[:60])
    data = folder(photos, max_memory_gb=max_memory_gb, on_corrupted="skip")
    assert caplog.text.count("left out: ") == 2 and "cat/01.jpg" in caplog.text and "dog/small/02.png" in caplog.text
    assert images_of(data) <= before and len(images_of(data)) == data.num_train + data.num_val == 22


def images_of(data: DiffSet) -> set[tuple[int, bytes]]:
    splits = [store[range(len(store))] for store in (data.train_set, data.val_set)]
    return {
        (int(label), bytes(image.numpy()))
        for batch in splits
        for image, label in zip(batch["image"], batch["label"], strict=True)
    }


def test_a_folder_of_corrupted_images_alone_is_refused(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the \d+ images can be read, the first: .*not a readable image"):
        folder(tmp_path, on_corrupted="skip")
    with pytest.raises(ValueError, match="on_corrupted=drop: choices: refuse, skip"):
        folder(tmp_path, on_corrupted="drop")


def test_an_image_above_the_pixel_limit_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match=r"\.(png|jpg): \d+x\d+ pixels are more than max_pixels=700"):
        folder(photos, source=Folder(max_pixels=700))


def test_an_image_that_the_mode_cannot_fit_is_named(photos: Path) -> None:
    with pytest.raises(DataError, match=r"\.(png|jpg): resize_mode=none: an image of"):
        folder(photos, resize_mode="none")


def test_no_such_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_dir=.*nowhere: no such folder"):
        folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"data_dir=.*: 0 images"):
        folder(tmp_path)


def test_number_of_classes_is_checked(photos: Path) -> None:
    assert folder(photos, num_classes=3).num_classes == 3
    with pytest.raises(ValueError, match=r"num_classes=10: the data has 3 \(bird, cat, dog\)"):
        folder(photos, num_classes=10)


@pytest.mark.parametrize("arguments", [{"val_fraction": 0.0}, {"val_fraction": 1.0}, {"max_pixels": 0}])
def test_impossible_settings_are_refused(arguments) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"^{name}="):
        Folder(**arguments)


def test_a_signal_to_the_process_group_does_not_reach_the_workers(photos: Path) -> None:
    """SIGTERM and Ctrl-C are for the run, which needs its workers until it has saved."""
    lazy = folder(photos, max_memory_gb=0, num_workers=2, batch_size=2)
    batches = iter(lazy.train_dataloader())
    next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    # one of them may still be starting
    until(lambda: all(os.getpgid(worker.pid) == worker.pid for worker in workers))
    del batches, lazy
