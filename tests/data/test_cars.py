"""Stanford Cars, in small files of the published layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from lightdiff.data import DataError, DiffSet

NAMES = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi R8 Coupe 2012"]


@pytest.fixture
def cars_dir(tmp_path: Path, write_image, random_pixels) -> Path:
    root = tmp_path / "stanford_cars"
    (root / "devkit").mkdir(parents=True)
    scipy.io.savemat(root / "devkit" / "cars_meta.mat", {"class_names": np.array(NAMES, dtype=object)})
    dtype = [("bbox_x1", object), ("class", object), ("fname", object)]
    for folder, file, count in (
        ("cars_train", "devkit/cars_train_annos.mat", 8),
        ("cars_test", "cars_test_annos_withlabels.mat", 4),
    ):
        rows = np.array([(1, i % 3 + 1, f"{i:05d}.jpg") for i in range(count)], dtype=dtype)
        scipy.io.savemat(root / file, {"annotations": rows})
        for i in range(count):
            write_image(root / folder / f"{i:05d}.jpg", random_pixels(30, 40, 3, seed=i))
    return tmp_path


def test_both_published_sets_are_used_with_their_labels(cars_dir: Path) -> None:
    data = DiffSet("cars", data_dir=str(cars_dir), batch_size=2, max_memory_gb=0)
    data.setup()
    assert data.class_names == tuple(NAMES)
    assert data.num_train + data.num_val == 12
    files = data.train_set.files + data.val_set.files
    assert sorted(files) == sorted(
        [f"cars_train/{i:05d}.jpg" for i in range(8)] + [f"cars_test/{i:05d}.jpg" for i in range(4)]
    )
    for store in (data.train_set, data.val_set):
        assert store.labels.tolist() == [int(Path(file).stem) % 3 for file in store.files]
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, 64, 64)


def test_missing_files_are_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cars: .*devkit/cars_meta\.mat.*cannot be downloaded.*dataset=digits"):
        DiffSet("cars", data_dir=str(tmp_path)).setup()


def test_a_garbled_annotation_file_is_named(cars_dir: Path) -> None:
    (cars_dir / "stanford_cars" / "devkit" / "cars_meta.mat").write_bytes(b"nothing of matlab's" * 20)
    with pytest.raises(DataError, match=r"cars_meta\.mat: not a readable \.mat file"):
        DiffSet("cars", data_dir=str(cars_dir)).setup()


def test_names_in_the_annotations_do_not_lead_out_of_the_folder(cars_dir: Path, write_image, random_pixels) -> None:
    rows = np.array(
        [(1, 1, "../../outside.jpg"), (1, 1, "00001.jpg")],
        dtype=[("bbox_x1", object), ("class", object), ("fname", object)],
    )
    scipy.io.savemat(cars_dir / "stanford_cars" / "cars_test_annos_withlabels.mat", {"annotations": rows})
    write_image(cars_dir / "outside.jpg", random_pixels(30, 40, 3))
    data = DiffSet("cars", data_dir=str(cars_dir), max_memory_gb=0, batch_size=2)
    data.setup()
    assert "cars_test/outside.jpg" in data.train_set.files + data.val_set.files
