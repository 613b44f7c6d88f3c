"""DiffSet: images and labels for diffusion models, as a LightningDataModule that also works alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args
from weakref import WeakSet

import torch

from lightdiff.config.instantiate import suggest
from lightdiff.data.fingerprint import OnChanged, RememberedData
from lightdiff.data.flip import flip_batch
from lightdiff.data.image_store import ImageStore, MemoryStore, OnCorrupted
from lightdiff.data.loader import BatchLoader
from lightdiff.data.order import FixedOrder, RankBatches, TrainOrder
from lightdiff.data.residence import residence
from lightdiff.data.resize import Fit, ResizeMode
from lightdiff.data.sources import SOURCES, Source, Splits
from lightdiff.data.value_check import value_warnings
from lightdiff.utils.files import user_path
from lightdiff.utils.sizes import two_sizes
from lightdiff.utils.text import in_usual_case, shorten

USUAL_BATCH_SIZE = 128


class DiffSet(RememberedData):
    """A data set in splits, served in batches {"image": uint8 (B, C, H, W), "label": int64 (B,)}.

    The global batch and its flips are functions of (seed, number of the batch in the run); process r of P takes its rows
    r, r + P, r + 2 P, ... A resumed run therefore sees the batches that it would have seen, and P processes together see those
    of one. Images stay uint8 until the model maps them to its value range.

    Args:
        name: name of the data set. Where `source` is None it must be a key of `SOURCES`, in any case of
            letters: mnist, fashion, cifar, digits, ...
        source: object that loads the images, with the settings that only this data set has, or None for the one called `name`.
        data_dir: folder of the files, into which missing ones are downloaded; for `folder` the folder of the images.
        image_size: side of square images, or (height, width), or None for the data set's usual size.
        channels: 1 for grayscale, 3 for RGB, 2 and 4 for image files with their transparency, or None for the data set's own
            number, which may be any.
        num_classes: number of classes that the data must have, or None for any number.
        class_names: names of the classes in the order in which labels are to number them, or None for the source's order. Names
            other than the source's own change nothing here; they are for captions and for asking for samples.
        resize_mode: pad, resize, crop or none (see `Fit`), or None for the data set's usual mode.
        horizontal_flip: mirror each training image with probability 1/2, on the training's device.
        batch_size: images in the global batch, over all processes, or None for 128 or, of fewer training images, the largest
            power of two.
        drop_last: leave out the images of an epoch that fill no batch, other ones in each epoch. Otherwise they are the last,
            smaller batch of the epoch.
        num_workers: processes that read the files of a folder too large for memory.
        on_changed: what other images than before lead to when a run goes on: "refuse" them, or "accept" and record them.
        on_corrupted: what an unreadable image leads to: "refuse" the data set, or "skip" the image (reads all images once first).
        max_memory_gb: GiB; images that take more when decoded are read file by file.
        resident: whether to keep images that are in memory on the training's device, so that no batch has to be sent there.
            "auto" does so on a GPU if they fit in a quarter of its free memory.
        seed: key of the order of batches and of the flips.
        templates: captions with {} for the name of the class, for batches with `caption`, a list of B texts, where images have no
            captions of their own (see `Annotations.with_captions_of_classes`); None: no such captions.

    Raises:
        ValueError: a value is impossible; in `setup` and the loaders, it does not suit the data or the number of processes.
        DataError: in `prepare_data` and `setup`, files are missing or unreadable.
    """

    def __init__(
        self,
        name: str = "mnist",
        *,
        source: Source | None = None,
        data_dir: str = "data",
        image_size: int | Sequence[int] | None = None,
        channels: int | None = None,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        resize_mode: ResizeMode | None = None,
        horizontal_flip: bool = False,
        batch_size: int | None = None,
        drop_last: bool = True,
        num_workers: int = 0,
        on_corrupted: OnCorrupted = "refuse",
        max_memory_gb: float = 4.0,
        resident: Literal["auto", True, False] = "auto",
        seed: int = 0,
        on_changed: OnChanged = "refuse",
        templates: Sequence[str] | None = None,
    ) -> None:
        super().__init__(on_changed)
        if source is None and (name := in_usual_case(name, SOURCES)) not in SOURCES:
            raise ValueError(f"name={name}: no such data set; {suggest(name, SOURCES)}")
        for argument, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
            if value is not None and value < least:
                raise ValueError(f"{argument}={value}: a whole number from {least} up is expected")
        if on_corrupted not in get_args(OnCorrupted):
            raise ValueError(f"on_corrupted={on_corrupted}: choices: {', '.join(get_args(OnCorrupted))}")
        if not max_memory_gb >= 0:
            raise ValueError(f"max_memory_gb={max_memory_gb}: a number from 0 up is expected")
        self.name = name
        self.source = SOURCES[name]() if source is None else source
        self.data_dir = data_dir
        self.image_size = two_sizes(self.source.usual_image_size if image_size is None else image_size)
        self.channels = self.source.usual_channels if channels is None else channels
        if self.channels < 1:
            raise ValueError(f"channels={self.channels}: 1 or more is expected")
        self.num_classes = num_classes
        self.label_order = class_names
        self.resize_mode = self.source.usual_resize_mode if resize_mode is None else resize_mode
        self.horizontal_flip = horizontal_flip
        self.batch_size = USUAL_BATCH_SIZE if batch_size is None else batch_size
        self._may_shrink = batch_size is None
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.on_corrupted = on_corrupted
        self.max_memory_gb = max_memory_gb
        self.resident = resident
        self.seed = seed
        self.templates = templates
        self.warnings: list[str] = []
        self._fit = Fit(self.image_size, self.resize_mode)
        self._found: Splits | None = None
        self._splits: Splits | None = None
        self._loaders: WeakSet[BatchLoader] = WeakSet()
        self._residence: dict[str, tuple[bool, str]] = {}

    # -- images -------------------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Download missing files; Lightning calls this in one process only."""
        self.source.prepare(user_path(self.data_dir))

    def setup(self, stage: str | None = None) -> None:
        """Load the splits, unless they are loaded already; without `prepare_data` missing files are downloaded here."""
        if self._splits is not None:
            return
        splits = self.find()
        self.check_classes(splits.class_names)
        if self.on_corrupted == "skip":
            splits = splits.readable()
        if self.num_classes not in (None, len(splits.class_names)):
            found = f"{len(splits.class_names)} ({shorten(', '.join(splits.class_names))})"
            raise ValueError(f"num_classes={self.num_classes}: the data has {found}")
        self.remember(splits)
        self.warnings = value_warnings(splits.train)
        if splits.train.num_bytes + splits.val.num_bytes <= self.max_memory_gb * 2**30:
            splits = replace(splits, train=splits.train.in_memory(), val=splits.val.in_memory())
        self._splits = splits if self.templates is None else splits.captioned(self.label_order, self.templates)
        if self._may_shrink and self.num_train < self.batch_size:
            self.batch_size = 2 ** (self.num_train.bit_length() - 1)

    def find(self) -> Splits:
        """Return the splits as the source gives them, after `prepare_data`: files are listed and not yet read.

        A `FileStore` among them has the names of its files in `files`.
        """
        if self._found is None:
            self._found = self.source.load(user_path(self.data_dir), self.channels, self._fit)
        return self._found.in_order(self.label_order)

    def find_class_names(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ..., after `prepare_data`; no image is decoded for them."""
        return self.find().class_names

    @property
    def is_set_up(self) -> bool:
        """Whether `setup` has loaded the splits."""
        return self._splits is not None

    @property
    def splits(self) -> Splits:
        """All splits, unshuffled and unflipped."""
        if self._splits is None:
            raise RuntimeError("DiffSet: call setup() first")
        return self._splits

    @property
    def train_set(self) -> ImageStore:
        """Images to train on, unshuffled and unflipped."""
        return self.splits.train

    @property
    def val_set(self) -> ImageStore:
        """Images to validate on."""
        return self.splits.val

    @property
    def num_train(self) -> int:
        """Number of images to train on."""
        return len(self.train_set)

    @property
    def num_val(self) -> int:
        """Number of images to validate on."""
        return len(self.val_set)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ..."""
        return self.splits.class_names

    # -- batches ------------------------------------------------------------------------------------------------------

    @property
    def batch_number(self) -> int:
        """Number of batches this run has trained on, over all epochs and resumes; 0 without a trainer."""
        if self.trainer is None:
            return 0
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]

    @property
    def images_seen(self) -> int:
        """Number of images this run has trained on, each counted as often as it was in a batch; 0 without a trainer."""
        return self._train_order().images_before(self.batch_number)

    @property
    def batches_per_epoch(self) -> int:
        """Number of global batches in an epoch; a batch that is larger than the data is refused (ValueError)."""
        return len(self._train_order())

    def check_shares(self, world_size: int) -> None:
        """Check that so many processes can train on the data, after `setup`.

        Raises:
            ValueError: the batch is larger than the data or cannot be shared evenly among the processes.
        """
        self._train_order().check_shares(world_size)

    def _train_order(self) -> TrainOrder:
        return TrainOrder(self.num_train, self.batch_size, self.seed, self.drop_last)

    def train_dataloader(self) -> BatchLoader:
        """Return the batches of an epoch, beginning at the trainer's position.

        Raises:
            ValueError: the batch is larger than the data or cannot be shared evenly among the processes.
        """
        rank, world_size = self._process()
        self.check_shares(world_size)
        overfit = getattr(self.trainer, "overfit_batches", 0)
        if overfit:
            raise ValueError(f"overfit_batches={overfit}: 0 is expected; train on a folder of few images instead")
        batches = RankBatches(self._train_order(), lambda: self.batch_number, rank, world_size)
        return self._loader(self.train_set, batches)

    def val_dataloader(self) -> BatchLoader:
        """Return batches that show every validation image once.

        All processes get equally many batches; of a batch one process may get one image more than another.

        Raises:
            ValueError: there are more processes than images in the smallest batch.
        """
        rank, world_size = self._process()
        order = FixedOrder(self.num_val, self.batch_size)
        if order.smallest < world_size:
            raise ValueError(
                f"batch_size={self.batch_size}: {self.num_val} validation images give a batch of {order.smallest}, "
                f"too few for {world_size} processes; use a batch_size of at least {2 * world_size} or fewer processes"
            )
        batches = RankBatches(order, lambda: 0, rank, world_size)
        return self._loader(self.val_set, batches)

    def _loader(self, store: ImageStore, batches: RankBatches) -> BatchLoader:
        loader = BatchLoader(self._placed(store), batches, self.num_workers)
        # a weak set, because the loader refers to this object, from which it takes its position
        self._loaders.add(loader)
        return loader

    def teardown(self, stage: str | None = None) -> None:
        """End the processes that read images; Lightning calls this when a run has ended, though not when it has failed."""
        for loader in self._loaders:
            loader.close()

    def residence(self, device: torch.device) -> tuple[bool, str]:
        """Return whether the images are kept on this device, and the reason; the batches are the same either way."""
        # the first answer stands for all loaders, because free memory changes while a run begins
        if device.type not in self._residence:
            self._residence[device.type] = residence(self.resident, [self.train_set, self.val_set], device)
        return self._residence[device.type]

    def _placed(self, store: ImageStore) -> ImageStore:
        """Return the store, on the trainer's device if `residence` wants it there."""
        if self.trainer is None or not isinstance(store, MemoryStore):
            return store
        device = self.trainer.strategy.root_device
        return store.on(device) if self.residence(device)[0] else store

    def _process(self) -> tuple[int, int]:
        """Return the number of this process and how many there are."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Flip training images at random, on their device, and the condition images of paired data together with them."""
        if not self.horizontal_flip or self.trainer is None or not self.trainer.training:
            return batch
        return flip_batch(batch, self.seed, self.batch_number, *self._process())
