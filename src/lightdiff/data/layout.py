"""Recognise how a folder of images is laid out: which folders are splits, which are classes, and which only wrap the others.

Nothing is guessed: where a layout can be read in two ways it is refused, in one line with what was found and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from lightdiff.data.errors import DataError
from lightdiff.utils.text import listed, natural_order, printable

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
"""Usual names of the folders of each split, in small letters."""
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
ONE_CLASS = "image"
"""Name of the class where there are no class folders."""
OR_CLASSES = "dataset.source.layout=classes (leaves out what lies beside the folders)"
OR_SPLITS = "dataset.source.layout=splits (leaves out what lies beside the splits)"
LISTED = 4
"""Largest number of names in a message."""

Classes = dict[str, str]
"""Image files in the order of their names, each with its class."""


@dataclass(frozen=True)
class Layout:
    """Images of each split with their classes.

    Args:
        train: images to train on.
        val: images to validate on; None: some of `train` are to be set aside.
        test: images kept apart; None: there are none.
        beside: number of images left out because they lie beside the folders.
    """

    train: Classes
    val: Classes | None = None
    test: Classes | None = None
    beside: int = 0


class Level:
    """The image files below one folder: those that lie in it, and those of each of its sub-folders.

    Args:
        files: paths of the files, sorted, with / between folders.
        path: the part of them that leads to this folder, with a / at its end; "" for the root.
    """

    def __init__(self, files: list[str], path: str = "") -> None:
        self.path = path
        self.files = files
        self.images: list[str] = []
        self.folders: dict[str, list[str]] = {}
        for file in files:
            name, slash, _ = file[len(path) :].partition("/")
            if slash:
                self.folders.setdefault(name, []).append(file)
            else:
                self.images.append(file)

    def below(self, name: str) -> Level:
        """Return the level of the sub-folder `name`."""
        return Level(self.folders[name], f"{self.path}{name}/")

    def unwrapped(self, stop_at: Collection[str] = ()) -> Level:
        """Return the first level, from this one down, that is more than one folder around others.

        Args:
            stop_at: names, in small letters, of folders that are no wrappers.
        """
        level = self
        while not level.images and len(level.folders) == 1 and not _in(stop_at, level.folders):
            below = level.below(*level.folders)
            if not below.folders:
                break
            level = below
        return level


def recognised(files: list[str], layout: str) -> Layout:
    """Return the layout of image files.

    Args:
        files: their paths below the folder of the data set, sorted, with / between folders.
        layout: a key of `LAYOUTS`.

    Raises:
        DataError: it can be read in two ways or in none; the message is to follow the folder's name.
    """
    return LAYOUTS[layout](Level(files))


def automatic(root: Level) -> Layout:
    """Splits where the folders have their names, else classes; refuse what is neither for certain."""
    level = root.unwrapped(stop_at=SPLIT_OF)
    named = [name for name in level.folders if name.lower() in SPLIT_OF]
    others = [name for name in level.folders if name.lower() not in SPLIT_OF]
    if not named:
        _check_without_splits(level)
        return Layout(_classes(level, OR_CLASSES, "dataset.source.layout=flat (all images are one class)"))
    if others:
        raise DataError(
            f"{_folders(others)} {'lies' if len(others) == 1 else 'lie'} beside {_listed(named)}; choices: "
            f"{_move(len(others))}, {OR_SPLITS}, dataset.source.layout=classes (every folder is a class)"
        )
    if level.images:
        raise DataError(f"{_images(level)} beside {_folders(named)}; choices: {_move(len(level.images))}, {OR_SPLITS}")
    return _splits(level)


def flat(root: Level) -> Layout:
    """All images are of one class, wherever they lie."""
    return Layout(dict.fromkeys(root.files, ONE_CLASS))


def classes(root: Level) -> Layout:
    """Every folder is a class, whatever its name; images beside the folders are left out."""
    level = root.unwrapped()
    if not level.folders:
        raise DataError("no folders that could be classes; choices: dataset.source.layout=auto, flat")
    inside = [file for files in level.folders.values() for file in files]
    return Layout(_classes(Level(inside, level.path)), beside=len(level.images))


def splits(root: Level) -> Layout:
    """The folders with the names of splits are the splits; whatever lies beside them is left out."""
    level = root.unwrapped(stop_at=SPLIT_OF)
    inside = [file for name, files in level.folders.items() if name.lower() in SPLIT_OF for file in files]
    return _splits(Level(inside, level.path), beside=len(level.files) - len(inside))


LAYOUTS: dict[str, Callable[[Level], Layout]] = {"auto": automatic, "flat": flat, "classes": classes, "splits": splits}


def _splits(level: Level, beside: int = 0) -> Layout:
    """Return the layout of a level whose folders all have the names of splits."""
    found: dict[str, str] = {}
    for name in level.folders:
        split = SPLIT_OF[name.lower()]
        if split in found:
            raise DataError(f"the folders {found[split]} and {name} are both the split {split}; keep one of them")
        found[split] = name
    if "train" not in found:
        raise DataError(
            f"a folder train is expected beside val or test, found: {_listed(found.values()) or 'none of them'}; to train on "
            "the images of one folder, give that folder as dataset.data_dir"
        )
    train = level.below(found["train"])
    inner = train.unwrapped()
    _check_without_splits(inner)
    labelled = {"train": _classes(inner)}
    for split in ("val", "test"):
        if split in found:
            other = _below(level.below(found[split]), inner.path[len(train.path) :])
            labelled[split] = _classes(other)
            _check_same_classes(found["train"], labelled["train"], found[split], labelled[split])
    if "val" not in labelled and "test" in labelled:
        labelled["val"] = labelled.pop("test")
    return Layout(**labelled, beside=beside)


def _below(level: Level, wrapper: str) -> Level:
    """Return the level below the folders of `wrapper` where they are all that the level has, else the level itself."""
    wrapped = all(file.startswith(level.path + wrapper) for file in level.files)
    return Level(level.files, level.path + wrapper) if wrapped else level


def _classes(level: Level, *choices: str) -> Classes:
    """Return the classes of a level without splits: its folders, or one class where there are only images.

    Images and folders beside one another are refused, with these `choices` beside moving the images.
    """
    if level.images and level.folders:
        listed_choices = ", ".join((_move(len(level.images)), *choices))
        raise DataError(f"{_images(level)} beside {_folders(level.folders)}; choices: {listed_choices}")
    if not level.folders:
        return dict.fromkeys(level.files, ONE_CLASS)
    return {file: name for name, files in level.folders.items() for file in files}


def _check_without_splits(level: Level) -> None:
    """Refuse class folders whose names, or whose sub-folders, look like splits."""
    for holder in (level, *map(level.below, level.folders)):
        named = {split: name for name in holder.folders if (split := _split_within(name)) is not None}
        if len(named) > 1 and "train" in named:
            where = f"in {printable(holder.path)}" if holder.path else "there"
            raise DataError(
                f"the folders {_listed(named.values())} {where} look like splits; choices: folders called train and val (and "
                "test) above those of the classes, dataset.source.layout=classes (every folder is a class)"
            )


def _split_within(name: str) -> str | None:
    """Return the split whose usual name is a word of `name`, as in train2017 or images_val; None if there is none."""
    words = re.findall("[a-z]+", name.lower())
    return next((SPLIT_OF[word] for word in words if word in SPLIT_OF), None)


def _check_same_classes(train_name: str, train: Classes, name: str, others: Classes) -> None:
    """Refuse images of a split whose class training does not have."""
    known = set(train.values())
    unknown = [found for found in dict.fromkeys(others.values()) if found not in known]
    if unknown:
        raise DataError(
            f"{name} has {_described(unknown)}, which {train_name} lacks: it has {_described([*dict.fromkeys(train.values())])}; "
            f"give both the same class folders, or move {name} elsewhere"
        )


def _described(names: list[str]) -> str:
    if names == [ONE_CLASS]:
        return "images outside of class folders"
    return f"the class{'es' if len(names) > 1 else ''} {_listed(names)}"


def _images(level: Level) -> str:
    """Return words such as "2 images (a.png, b.png) in train/ lie"."""
    number = len(level.images)
    names = _listed(file[len(level.path) :] for file in level.images)
    where = f" in {printable(level.path)}" if level.path else ""
    return f"1 image ({names}){where} lies" if number == 1 else f"{number} images ({names}){where} lie"


def _folders(names: Collection[str]) -> str:
    return f"the folder{'s' if len(names) > 1 else ''} {_listed(names)}"


def _move(number: int) -> str:
    return f"move {'it' if number == 1 else 'them'} elsewhere"


def _listed(names: Iterable[str]) -> str:
    """Return the first names in one line."""
    return listed([printable(name) for name in sorted(names, key=natural_order)], LISTED)


def _in(names: Collection[str], folders: Collection[str]) -> bool:
    return any(name.lower() in names for name in folders)
