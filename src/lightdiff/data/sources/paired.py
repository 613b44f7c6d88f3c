"""Paired: two folders of image files with equal names, such as photos and their edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lightdiff.data.errors import DataError
from lightdiff.data.file_store import FileStore
from lightdiff.data.image_store import ImageStore
from lightdiff.data.listing import list_images
from lightdiff.data.paired_store import PairedFileStore
from lightdiff.data.resize import Fit
from lightdiff.data.sources.base import Splits
from lightdiff.data.sources.folder import Folder


@dataclass(frozen=True)
class Paired(Folder):
    """Images below `data_dir`/`image_dir`, as `Folder` finds them, each with a condition of the same name below `condition_dir`.

    The names may end differently: the condition of `train/a.jpg` is `train/a.jpg`, or `train/a.png` and so on. Both images get
    the same size in the same way. Conditions without an image are left out.

    Args:
        image_dir: name of the folder with the images, below `data_dir`.
        condition_dir: name of the folder with the conditions, below `data_dir`.
        condition_channels: 1 reads conditions as grayscale, 3 as RGB, 2 and 4 with transparency as the last channel.
        val_fraction, max_pixels, range, layout, follow_links, metadata, text_column, columns: as for `Folder`.
    """

    image_dir: str = "images"
    condition_dir: str = "conditions"
    condition_channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.condition_channels <= 4:
            raise ValueError(f"condition_channels={self.condition_channels}: 1 to 4 is expected")
        if self.image_dir == self.condition_dir:
            raise ValueError(f"condition_dir={self.condition_dir}: another folder than image_dir is expected")

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        splits = super().load(data_dir / self.image_dir, channels, fit)
        folder = data_dir / self.condition_dir
        file_of: dict[str, str] = {}
        for name in list_images(folder, follow_links=self.follow_links).images:
            other = file_of.setdefault(_stem(name), name)
            if other != name:
                raise DataError(f"source.condition_dir={self.condition_dir}: {other} and {name} have the same name")

        def paired(store: ImageStore) -> PairedFileStore:
            assert isinstance(store, FileStore)
            missing = [name for name in store.files if _stem(name) not in file_of]
            if missing:
                raise DataError(
                    f"source.condition_dir={self.condition_dir}: {len(missing)} of {len(store.files)} images have no file of "
                    f"their name in {folder}, the first: {missing[0]}"
                )
            files = [file_of[_stem(name)] for name in store.files]
            reading = {"channels": self.condition_channels, "fit": fit, "max_pixels": self.max_pixels}
            return PairedFileStore.of(store, FileStore(folder, files, store.labels, **reading))

        return replace(splits.each(paired), left_out=splits.left_out)


def _stem(name: str) -> str:
    """Return the name of a file below its folder without its ending."""
    return str(PurePosixPath(name).with_suffix(""))
