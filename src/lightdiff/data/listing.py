"""List the image files below a folder, and count what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightdiff.data.errors import DataError
from lightdiff.data.formats import image_suffixes
from lightdiff.data.metadata import READERS

OF_THE_SYSTEM = frozenset({"__macosx", "@eadir", "desktop.ini", "ehthumbs.db", "thumbs.db"})
"""Files and folders that file managers leave behind; they are passed over like those whose name begins with a dot."""
PASSED_OVER = OF_THE_SYSTEM | set(READERS)
MAX_LISTED = 5
"""Largest number of suffixes that `in_words` names one by one."""

OUTSIDE = ("link that leads outside", "links that lead outside")
TO_FOLDERS = ("link to a folder", "links to folders")
BROKEN = ("broken link", "broken links")
NO_SUFFIX = ("file without a suffix", "files without a suffix")
BESIDE = ("image beside the folders", "images beside the folders")
UNREADABLE = ("image that cannot be read", "images that cannot be read")

Kind = tuple[str, str]
"""What was left out, in the singular and in the plural."""


@dataclass(frozen=True)
class Listing:
    """The image files below a folder.

    Args:
        root: the folder.
        images: paths of the images relative to it, with / between folders, sorted.
        left_out: how many files of each kind are no images or may not be read.
    """

    root: Path
    images: list[str]
    left_out: Counter[Kind]


def list_images(root: Path, *, follow_links: bool = False) -> Listing:
    """List all image files below `root`, known by their suffixes; none is opened.

    A link to a file within `root` counts as a file. Hidden files, those of file managers and metadata are passed over.

    Args:
        root: the folder.
        follow_links: follow links to folders and links that lead out of `root`, which else are left out and counted.

    Raises:
        DataError: there is no such folder, or a folder in it may not be read.
    """
    if not root.is_dir():
        raise DataError(f"data_dir={root}: no such folder")
    inside = root.resolve()
    images, left_out = [], Counter[Kind]()
    for entry in _entries(root, follow_links):
        kind = _kind_left_out(entry, inside, follow_links)
        if kind is None:
            images.append(Path(entry.path).relative_to(root).as_posix())
        else:
            left_out[kind] += 1
    return Listing(root, sorted(images), left_out)


def in_words(left_out: Counter[Kind]) -> str:
    """Return such as "10 .jfif, 12 links that lead outside": files by their suffix first, the most frequent ones by name."""
    suffixes = Counter({kind: number for kind, number in left_out.items() if kind[0].startswith(".")}).most_common()
    parts = [(number, kind) for kind, number in suffixes[:MAX_LISTED]]
    others = sum(number for _, number in suffixes[MAX_LISTED:])
    parts += [(others, ("other file", "other files"))] if others else []
    parts += [(number, kind) for kind, number in left_out.items() if not kind[0].startswith(".")]
    return ", ".join(f"{number:,} {kind[number != 1]}" for number, kind in parts)


def _kind_left_out(entry: os.DirEntry[str], inside: Path, follow_links: bool) -> Kind | None:
    """Return the kind under which the entry, which is no folder to look into, is left out; None for an image."""
    if entry.is_symlink():
        if not Path(entry.path).exists():
            return BROKEN
        if not follow_links and not Path(entry.path).resolve().is_relative_to(inside):
            return OUTSIDE
        if entry.is_dir():
            return TO_FOLDERS
    suffix = Path(entry.name).suffix.lower()
    if suffix in image_suffixes() and entry.is_file():
        return None
    return (suffix, suffix) if suffix else NO_SUFFIX


def _entries(root: Path, follow_links: bool) -> Iterator[os.DirEntry[str]]:
    """Yield everything below `root` that is no folder to look into, save what is hidden or of the system."""
    # each folder with itself and all above it, so that a link back to one of those ends there
    waiting = [(str(root), frozenset({_identity(root)}))]
    while waiting:
        folder, above = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not _is_hidden(entry.name)]
        except OSError as error:
            raise DataError(f"data_dir={root}: the folder {folder} cannot be read ({error.strerror})") from error
        for entry in entries:
            if entry.is_dir(follow_symlinks=follow_links):
                identity = _identity(entry.path)
                if identity not in above:
                    waiting.append((entry.path, above | {identity}))
                    continue
            yield entry


def _identity(folder: str | Path) -> tuple[int, int]:
    """Return what two paths to the same folder have in common."""
    found = Path(folder).stat()
    return found.st_dev, found.st_ino


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in PASSED_OVER
