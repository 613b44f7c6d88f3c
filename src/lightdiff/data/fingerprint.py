"""Notice that a run goes on with other data than it was trained on.

Every checkpoint holds the facts of the data (`DataFacts`), which are compared when the run goes on. What they show:

- Classes: any change of their names, their order or their number.
- Data sets that are arrays (MNIST, CIFAR-10, digits): any change of a pixel, as it is after scaling, of a label or of the order.
- Image files: a file that is new, missing, renamed or of another size, a label, and other content at either end of one of
  2,000 files (`lightdiff.data.traces`) spread over the split. Not noticed is another file that keeps its name and its size.
- Tables of the package datasets: another number of images, a label, and the encoded content of 2,000 images in the same way.

Where files and tables lie, when they were written, and how their images are scaled and kept makes no difference.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, get_args

from pytorch_lightning import LightningDataModule

from lightdiff.config.instantiate import ConfigError
from lightdiff.utils.structure import COUNT, TEXT, Items, Keys, Leaf, Misfit, Optional
from lightdiff.utils.text import shorten

if TYPE_CHECKING:
    from lightdiff.data.image_store import ImageStore
    from lightdiff.data.sources import Splits

OnChanged = Literal["refuse", "accept"]

log = logging.getLogger(__name__)
_HASH = re.compile("[0-9a-f]{8,}")


@dataclass(frozen=True)
class SplitFacts:
    """What is remembered of the images of a split.

    Args:
        count: how many they are.
        fingerprint: their hash, see `ImageStore.portable_fingerprint`.
    """

    count: int
    fingerprint: str

    @classmethod
    def of(cls, store: ImageStore) -> SplitFacts:
        """Return the facts of a split."""
        return cls(len(store), store.portable_fingerprint)


@dataclass(frozen=True)
class DataFacts:
    """What is remembered of the data that a run trains on.

    Args:
        class_names: names of the labels 0, 1, ...
        train, val: the images to train on and to validate on.
    """

    class_names: tuple[str, ...]
    train: SplitFacts
    val: SplitFacts

    @classmethod
    def of(cls, splits: Splits) -> DataFacts:
        """Return the facts of both splits."""
        return cls(tuple(splits.class_names), SplitFacts.of(splits.train), SplitFacts.of(splits.val))

    @classmethod
    def from_plain(cls, plain: Any) -> DataFacts:
        """Return the facts that a checkpoint holds.

        Raises:
            Misfit: it holds something else; one line with the field.
        """
        _FACTS.check(plain)
        return cls(tuple(plain["class_names"]), *(SplitFacts(**plain[name]) for name in _SPLITS))

    def plain(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return {**asdict(self), "class_names": list(self.class_names)}

    def changed_images(self, former: DataFacts) -> str | None:
        """Return how many images there were and are, if they are not the same ones, else None."""
        if (self.train, self.val) == (former.train, former.val):
            return None
        same = (self.train.count, self.val.count) == (former.train.count, former.val.count)
        return (
            f"{former.train.count} to train on and {former.val.count} to validate on, "
            f"now {self.train.count} and {self.val.count}{' with other names or content' if same else ''}"
        )


_SPLITS = ("train", "val")
_IMAGES = {
    name: Keys(
        count=COUNT,
        fingerprint=Leaf(
            lambda value: isinstance(value, str) and bool(_HASH.fullmatch(value)), "a hash in hexadecimal digits"
        ),
    )
    for name in _SPLITS
}
_PERIOD = Keys(_IMAGES, batches=Optional(COUNT))
_FACTS = Keys(_IMAGES, class_names=Items(TEXT), batches=Optional(COUNT), former=Optional(Items(_PERIOD)))
"""What `RememberedData.facts` returns after `setup`."""


def changed_classes(former: Sequence[str], names: Sequence[str]) -> str | None:
    """Return how the names of classes differ from former ones, and the first label that does; None if they do not."""
    if tuple(former) == tuple(names):
        return None
    counts = [f"{len(classes)} ({shorten(', '.join(classes))})" for classes in (former, names)]
    pairs = enumerate(zip_longest(former, names))
    label, was, now = next((label, was, now) for label, (was, now) in pairs if was != now)
    was = "was not there" if was is None else f"was {shorten(was)}"
    now = "is gone" if now is None else f"is {shorten(now)}"
    return f"were {counts[0]} and are {counts[1]}; label {label} {was} and {now}"


class RememberedData(LightningDataModule):
    """Base class of a data module whose checkpoints say which data a run was trained on, and that refuses to go on with others.

    `setup` of a subclass calls `check_classes` as soon as the classes are known, and then `remember`.

    Args:
        on_changed: what other images lead to when a run goes on: "refuse" them, or "accept" them and record it. Other classes are
            always refused, because labels would change their meaning.

    Raises:
        ValueError: `on_changed` is neither of these.
    """

    def __init__(self, on_changed: OnChanged) -> None:
        super().__init__()
        if on_changed not in get_args(OnChanged):
            raise ValueError(f"on_changed={on_changed}: choices: {', '.join(get_args(OnChanged))}")
        self.on_changed = on_changed
        self.accepted: str | None = None
        """The line that says which other images were accepted."""
        self._facts: DataFacts | None = None
        self._expected: DataFacts | None = None
        self._source = ""
        self._ended: dict[str, Any] = {}
        self._former: list[dict[str, Any]] = []

    @property
    def batch_number(self) -> int:
        """Number of batches this run has trained on."""
        raise NotImplementedError

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Refuse other classes than the run was trained on.

        Raises:
            ConfigError: the classes are others.
        """
        changed = changed_classes(self._expected.class_names, class_names) if self._expected else None
        if changed:
            raise ConfigError(
                f"class_names: the classes of the data {changed} ({self._source}); "
                "a run keeps its classes when it goes on"
            )

    def remember(self, splits: Splits) -> None:
        """Take down the facts of the data, before files become pixels in memory, and compare them with the expected ones.

        Raises:
            ConfigError: the data are others.
        """
        self._facts = DataFacts.of(splits)
        self._compare()

    def expect(self, state: Mapping[str, Any], source: str = "the checkpoint") -> None:
        """Refuse other data than those of `state`, now or, before `setup`, there.

        Args:
            state: what `state_dict` returned when the run was saved; {} where it says nothing.
            source: the name of what holds the state, for messages.

        Raises:
            ConfigError: the state is none, or the data are others.
        """
        if isinstance(state, Mapping) and not state:
            return
        try:
            self._expected = DataFacts.from_plain(state)
        except Misfit as misfit:
            raise ConfigError(f"{source}: {type(self).__qualname__}.{misfit}") from misfit
        self._ended = _period(state)
        self._former = [_period(entry) for entry in state.get("former", ())]
        self._source = source
        self._compare()

    def differs_from(self, state: Any) -> str | None:
        """Return how these data differ from those of a checkpoint's `state`; None if not at all, or if it says nothing."""
        try:
            former = DataFacts.from_plain(state)
        except Misfit:
            return None
        assert self._facts is not None, "call setup() first"
        classes = changed_classes(former.class_names, self._facts.class_names)
        return f"classes {classes}" if classes else self._facts.changed_images(former)

    def _compare(self) -> None:
        if self._expected is None or self._facts is None:
            return
        self.check_classes(self._facts.class_names)
        changed = self._facts.changed_images(self._expected)
        if changed is None:
            return
        if self.on_changed == "refuse":
            raise ConfigError(
                f"on_changed=refuse: the images are not those of {self._source}: {changed}; "
                "dataset.on_changed=accept goes on with these"
            )
        self.accepted = f"dataset.on_changed=accept: going on with other images: {changed}"
        self._former = [*self._former, self._ended]

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint and result.json hold of the data, as plain data; {} before `setup`.

        class_names; count and fingerprint of the splits train and val; batches, the number that the run has trained on so far;
        former, the splits and batches of earlier data that it has gone on from.
        """
        if self._facts is None:
            return {}
        return {**self._facts.plain(), "batches": self.batch_number, "former": self._former}

    def state_dict(self) -> dict[str, Any]:
        return self.facts

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the data with those of the checkpoint; Lightning calls this when a run goes on.

        Raises:
            ConfigError: the data are others.
        """
        # the command line has compared them already, before it wrote anything
        if self._expected is not None and DataFacts.from_plain(state_dict) == self._expected:
            return
        self.expect(state_dict)
        if self.accepted:
            log.warning(self.accepted)


def _period(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the images of a state and the batches at which their training ended, as plain data."""
    return {**{name: dict(state[name]) for name in _SPLITS}, "batches": state.get("batches", 0)}
