"""How a folder of images is laid out: splits and classes by their names, wrappers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightdiff.data import DataError, DiffSet, Folder


def lay_out(root: Path, write_image, *files: str) -> DiffSet:
    """Write an image at each path, with a number in front: "3 train/cat" is three images in the folder train/cat."""
    for entry in files:
        number, _, folder = entry.partition(" ")
        for i in range(int(number)):
            write_image(root / folder / f"{i}.png", torch.zeros(8, 8, 3, dtype=torch.uint8))
    return data_of(root)


def data_of(root: Path, **source) -> DiffSet:
    return DiffSet("folder", data_dir=str(root), image_size=8, source=Folder(**source), max_memory_gb=0)


def found(data: DiffSet) -> dict[str, dict[str, set[str]]]:
    """Return the class folders of each split with the folders of their images, as the labels have them."""
    splits = data.find()
    result: dict[str, dict[str, set[str]]] = {}
    for name, store in splits.stores().items():
        classes = result.setdefault(name, {})
        for file, label in zip(store.files, store.labels.tolist(), strict=True):
            classes.setdefault(splits.class_names[label], set()).add(str(Path(file).parent))
    return result


def refusal(data: DiffSet) -> str:
    with pytest.raises(DataError) as error:
        data.find()
    message = str(error.value)
    assert message.startswith(f"data_dir={data.data_dir}: ") and "\n" not in message
    return message.removeprefix(f"data_dir={data.data_dir}: ")


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("Train", "Test"), ("train", "dev"), ("training", "testing"), ("TRAIN", "Valid")],
)
def test_folders_called_as_splits_are_the_splits(tmp_path: Path, write_image, train: str, val: str) -> None:
    data = lay_out(tmp_path, write_image, f"5 {train}/cat", f"4 {train}/dog", f"2 {val}/cat", f"1 {val}/dog")
    assert data.find_class_names() == ("cat", "dog")
    assert found(data) == {
        "train": {"cat": {f"{train}/cat"}, "dog": {f"{train}/dog"}},
        "val": {"cat": {f"{val}/cat"}, "dog": {f"{val}/dog"}},
    }


def test_beside_val_the_images_of_test_are_kept_apart(tmp_path: Path, write_image) -> None:
    folders = [f"{number} {split}/{name}" for split, number in (("train", 3), ("val", 2), ("test", 1)) for name in "ab"]
    data = lay_out(tmp_path, write_image, *folders)
    data.setup()
    assert (data.num_train, data.num_val, len(data.splits.of("test"))) == (6, 4, 2)
    assert data.class_names == ("a", "b")
    for split, store in data.splits.stores().items():
        assert all(file.startswith(f"{split}/") for file in store.files)


@pytest.mark.parametrize("wrapper", ["dataset", "a/b/c", "training_data"])
def test_folders_around_everything_are_passed_over(tmp_path: Path, write_image, wrapper: str) -> None:
    data = lay_out(tmp_path / "one", write_image, f"3 {wrapper}/cat", f"3 {wrapper}/dog")
    assert data.find_class_names() == ("cat", "dog")
    data = lay_out(
        tmp_path / "two", write_image, f"3 {wrapper}/train/cat", f"3 {wrapper}/train/dog", f"1 {wrapper}/test/dog"
    )
    assert found(data)["val"] == {"dog": {f"{wrapper}/test/dog"}} and data.find_class_names() == ("cat", "dog")


def test_train_alone_is_a_folder_around_its_classes(tmp_path: Path, write_image) -> None:
    data = lay_out(tmp_path, write_image, "10 train/cat", "10 train/dog")
    splits = data.find()
    assert (len(splits.train), len(splits.val), splits.class_names) == (18, 2, ("cat", "dog"))


def test_a_folder_around_the_classes_of_each_split(tmp_path: Path, write_image) -> None:
    folders = ("3 train/images/cat", "3 train/images/dog", "1 val/images/cat")
    data = lay_out(tmp_path, write_image, *folders)
    assert found(data)["val"] == {"cat": {"val/images/cat"}} and data.find_class_names() == ("cat", "dog")


def test_splits_without_classes(tmp_path: Path, write_image) -> None:
    assert found(lay_out(tmp_path, write_image, "3 train", "2 test")) == {
        "train": {"image": {"train"}},
        "val": {"image": {"test"}},
    }


def test_one_class_folder_gives_its_name(tmp_path: Path, write_image) -> None:
    assert lay_out(tmp_path, write_image, "4 cat").find_class_names() == ("cat",)


def test_a_flat_folder_is_one_class(tmp_path: Path, write_image) -> None:
    assert lay_out(tmp_path, write_image, "4 .").find_class_names() == ("image",)


def test_classes_are_in_natural_order(tmp_path: Path, write_image) -> None:
    data = lay_out(tmp_path, write_image, *(f"2 {number}" for number in range(12)))
    assert data.find_class_names() == tuple(str(number) for number in range(12))
    for store in data.find().stores().values():
        assert store.labels.tolist() == [int(file.split("/")[0]) for file in store.files]
    letters = lay_out(tmp_path / "letters", write_image, "1 b2", "1 b10", "1 B", "1 a", "1 02", "1 2")
    assert letters.find_class_names() == ("02", "2", "B", "a", "b2", "b10")


def test_names_in_another_order_number_the_labels(tmp_path: Path, write_image) -> None:
    lay_out(tmp_path, write_image, *(f"3 {name}" for name in ("1", "2", "10")))
    former = DiffSet("folder", data_dir=str(tmp_path), image_size=8, class_names=["1", "10", "2"], batch_size=2)
    former.setup()
    plain = DiffSet("folder", data_dir=str(tmp_path), image_size=8, batch_size=2)
    plain.setup()
    assert former.class_names == ("1", "10", "2") and plain.class_names == ("1", "2", "10")
    for one, other in ((former.train_set, plain.train_set), (former.val_set, plain.val_set)):
        assert [former.class_names[label] for label in one.labels] == [
            plain.class_names[label] for label in other.labels
        ]
        assert one.fingerprint != other.fingerprint
    captions = DiffSet("folder", data_dir=str(tmp_path), class_names=["one", "two", "ten"])
    assert captions.find_class_names() == plain.class_names


# -- what is refused ----------------------------------------------------------------------------------------------------


def test_an_image_beside_the_class_folders(tmp_path: Path, write_image, random_pixels) -> None:
    lay_out(tmp_path, write_image, "3 cat", "2 dog")
    write_image(tmp_path / "preview.png", random_pixels(8, 8, 3))
    message = refusal(data_of(tmp_path))
    assert message.startswith("1 image (preview.png) lies beside the folders cat, dog; choices: move ")
    assert "dataset.source.layout=classes" in message and "dataset.source.layout=flat" in message
    flat, classes = data_of(tmp_path, layout="flat"), data_of(tmp_path, layout="classes")
    assert flat.find_class_names() == ("image",) and sum(map(len, flat.find().stores().values())) == 6
    assert classes.find_class_names() == ("cat", "dog") and sum(map(len, classes.find().stores().values())) == 5


def test_files_of_the_system_beside_the_class_folders_are_nothing(tmp_path: Path, write_image, random_pixels) -> None:
    data = lay_out(tmp_path, write_image, "3 cat", "2 dog", "2 __MACOSX/cat", "2 .cache")
    for name in (".DS_Store", "Thumbs.db", ".preview.png"):
        (tmp_path / name).write_bytes(b"")
    assert data.find_class_names() == ("cat", "dog")
    assert not data.find().left_out


def test_two_folders_of_one_split(tmp_path: Path, write_image) -> None:
    message = refusal(lay_out(tmp_path, write_image, "3 train/cat", "1 val/cat", "1 validation/cat"))
    assert message == "the folders val and validation are both the split val; keep one of them"


def test_folders_beside_the_splits(tmp_path: Path, write_image) -> None:
    message = refusal(lay_out(tmp_path, write_image, "3 train/cat", "1 val/cat", "2 extra/cat", "1 more"))
    assert message.startswith("the folders extra, more lie beside train, val; choices: ")
    chosen = data_of(tmp_path, layout="splits")
    assert found(chosen) == {"train": {"cat": {"train/cat"}}, "val": {"cat": {"val/cat"}}}
    assert sum(chosen.find().left_out.values()) == 3
    assert data_of(tmp_path, layout="classes").find_class_names() == ("extra", "more", "train", "val")


def test_an_image_beside_the_splits(tmp_path: Path, write_image) -> None:
    message = refusal(lay_out(tmp_path, write_image, "3 train/cat", "1 val/cat", "2 ."))
    assert message.startswith("2 images (0.png, 1.png) lie beside the folders train, val; choices: ")


@pytest.mark.parametrize("folders", [("3 val/cat", "3 test/cat"), ("9 test/cat",)])
def test_no_images_to_train_on(tmp_path: Path, write_image, folders: tuple[str, ...]) -> None:
    message = refusal(lay_out(tmp_path, write_image, *folders))
    assert (
        message.startswith("a folder train is expected beside val or test, found: ") and "dataset.data_dir" in message
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_training_lacks(tmp_path: Path, write_image, split: str) -> None:
    message = refusal(lay_out(tmp_path, write_image, "3 train/cat", "3 train/dog", f"1 {split}/cat", f"1 {split}/fox"))
    assert message.startswith(f"{split} has the class fox, which train lacks: it has the classes cat, dog; ")


def test_a_split_without_class_folders_beside_one_that_has_them(tmp_path: Path, write_image) -> None:
    message = refusal(lay_out(tmp_path, write_image, "3 train/cat", "3 train/dog", "1 val/cat", "4 test"))
    assert message.startswith(
        "test has images outside of class folders, which train lacks: it has the classes cat, dog; "
    )
    message = refusal(lay_out(tmp_path / "other", write_image, "3 train", "3 val/dog"))
    assert message.startswith("val has the class dog, which train lacks: it has images outside of class folders; ")


def test_an_image_beside_the_class_folders_of_a_split(tmp_path: Path, write_image) -> None:
    message = refusal(lay_out(tmp_path, write_image, "3 train/cat", "3 train/dog", "1 val/cat", "1 val"))
    assert message.startswith("1 image (0.png) in val/ lies beside the folder cat; ")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("3 train2017", "3 val2017"), "the folders train2017, val2017 there look like splits"),
        (("3 Images_Test/a", "3 images_train/a"), "the folders Images_Test, images_train there look like splits"),
        (("3 cat/train", "3 cat/val", "3 dog/train"), "the folders train, val in cat/ look like splits"),
        (("3 train/train/a", "3 train/val/a", "1 val/a"), "the folders train, val in train/ look like splits"),
    ],
)
def test_folders_that_look_like_splits(tmp_path: Path, write_image, folders: tuple[str, ...], message: str) -> None:
    assert refusal(lay_out(tmp_path, write_image, *folders)).startswith(f"{message}; choices: ")


def test_classes_whose_names_hold_the_word_train_are_classes(tmp_path: Path, write_image) -> None:
    assert lay_out(tmp_path, write_image, "3 train station", "3 harbour").find_class_names() == (
        "harbour",
        "train station",
    )


def test_an_empty_folder_of_a_split_is_none(tmp_path: Path, write_image) -> None:
    data = lay_out(tmp_path, write_image, "10 train/cat", "10 train/dog")
    (tmp_path / "val" / "cat").mkdir(parents=True)
    assert len(data.find().val) == 2


def test_strange_names_cannot_move_the_cursor(tmp_path: Path, write_image) -> None:
    assert "\x1b" not in refusal(lay_out(tmp_path, write_image, "3 train/a", "1 val/\x1b[2J"))


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, write_image) -> None:
    data = lay_out(tmp_path, write_image, "5 train/cat", "2 test/cat")
    with pytest.raises(ValueError, match=r"^split=test: .*; choices: train, val$"):
        data.find().of("test")
