"""Conditioner: from labels or captions to the tensors a network is conditioned on.

A condition is a dict with any of `vector (B, D)`, `tokens (B, L, D)`, `mask (B, L)` and `image (B, C', H, W)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Labels = int | str | Sequence[Any] | Mapping[str, Any] | Tensor | None
"""Classes a user asks for: numbers or names, one or several; None: each class once. For attributes a mapping such as
{"category": "Flags"}, or several."""
Inputs = Any
"""What a conditioner makes a condition of: a tensor (B, ...), or for several conditioners a tuple of their inputs."""
LISTED = 30
"""Number of classes that a message lists."""


class Conditioner(nn.Module, ABC):
    """Trained together with the network, averaged and saved with it.

    `drop_prob` is the share of training images, chosen one by one, whose condition is replaced by the null condition:
    classifier-free guidance needs that trained unconditional branch. `cond_keys` names the entries of a condition.
    `class_names` are the names of the labels 0, 1, ..., where they are known.
    """

    takes: tuple[str, ...] = ("labels",)
    """What a user can ask for when sampling: any of labels, prompt and condition (images)."""

    by_class: bool = True
    """Whether samples without a wish show each class in turn; otherwise a measurement shows the conditions of real images."""

    augmentation: float = 0.0
    """Highest level of the noise that training has mixed into condition images."""

    examples: list[str] | None = None
    """Captions that samples show where no prompt is given, of a conditioner that reads captions of the images' own."""

    cond_keys: tuple[str, ...]
    drop_prob: float
    class_names: list[str] | None = None

    @property
    def num_labels(self) -> int | None:
        """Number of labels that `inputs` can take, 0..num_labels - 1; None: unknown."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def names_of_labels(self) -> tuple[str, ...]:
        """A name for each of the labels 0, 1, ...: its class's, or its number where the class has no name; () if there are no
        labels."""
        names = tuple(self.class_names or ())
        return names + tuple(str(number) for number in range(len(names), self.num_labels or 0))

    def check(self, batch: dict[str, Any]) -> None:
        """Check what `inputs` reads of a batch; it reads every value.

        Raises:
            ValueError: one line with the part of the batch, what it is, and what is expected.
        """
        check_labels(batch.get("label"), len(batch["image"]), self)

    @classmethod
    def from_captions(cls, train: Sequence[str], val: Sequence[str]) -> dict[str, Any]:
        """Return arguments of the constructor that come from the captions of the images, where nobody has set them.

        Args:
            train: the captions of the images to train on.
            val: those of the images to validate on.
        """
        return {}

    def prepare(self, captions: Sequence[str] | None) -> None:
        """Take the captions of all images before training, to refuse them early and to encode them once.

        Args:
            captions: the captions of the images to train and to validate on; None: they have none of their own.

        Raises:
            ValueError: one line with the setting or the caption that does not fit.
        """

    def example(self) -> dict[str, Any]:
        """Return keyword arguments with which `choose` accepts a wish for nothing in particular; for checks."""
        return {}

    def pictured(self, condition: Tensor) -> Tensor:
        """Return condition images as pictures for people, float (B, 1 or C, H, W) in [-1, 1].

        Args:
            condition: uint8 images (B, C', h, w), for conditioners that take images.
        """
        raise NotImplementedError

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        """Shape (C', h, w) of a condition image, for conditioners that take images."""
        raise NotImplementedError

    def condition_of(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        """Return the condition images of a batch, uint8 (B, C', h, w), for conditioners that take images.

        Args:
            batch: a batch of the data set.
            chance: as for `inputs`.
        """
        raise NotImplementedError

    def choice_of(self, batch: dict[str, Any], chance: Tensor) -> Inputs:
        """Return what `choose` returns to a user who asks for images like those of a batch; arguments as for `inputs`."""
        return self.inputs(batch, chance)

    @abstractmethod
    def inputs(self, batch: dict[str, Any], chance: Tensor) -> Inputs:
        """What `forward` takes, (B, ...), out of a batch of the data set; `chance` (B,), uniform in [0, 1), decides what is
        left to chance, such as the template of a caption."""

    @abstractmethod
    def choose(self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None) -> Inputs:
        """What `forward` takes, (K, ...), for a user's wish. Image i shows entry i modulo K.

        Args:
            labels: classes, for conditioners that take labels.
            prompt: texts, for conditioners that take a prompt.
            condition: uint8 images (K, C, h, w), for conditioners that take images.

        Raises:
            ValueError: a wish that does not exist or cannot be had.
        """

    @abstractmethod
    def forward(self, inputs: Inputs, drop: Tensor | None = None) -> dict[str, Tensor]:
        """Conditions of B images; rows that `dropped` has chosen get the null condition."""

    @abstractmethod
    def null(self) -> dict[str, Tensor]:
        """The null condition, as a batch of 1."""

    def dropped(self, drop: Tensor) -> Tensor:
        """Return which of B training images lose their condition, by `drop` (B,), uniform in [0, 1)."""
        return drop < self.drop_prob

    def unconditional(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the condition, as a batch of 1 or B, with which guidance compares `cond`: the null condition."""
        return self.null()

    @property
    def guidance_acts(self) -> bool:
        """Whether the condition with which guidance compares is another one than the condition itself."""
        return True

    def same_inputs(self, other: Conditioner) -> bool:
        """Return whether `inputs` of another conditioner can be given to this one, as to the one of a teacher."""
        if type(self) is not type(other):
            return False
        return torch.equal(*(each.choose(labels=None, prompt=None) for each in (self, other)))

    def inputs_of_rows(self, choice: Inputs, rows: range, device: torch.device, noise: float | None = None) -> Inputs:
        """The entries of `choice` (K, ...) for images `rows`.

        `noise` is the level of the noise in condition images, in [0, augmentation], for conditioners that take images; None:
        their own level.
        """
        return choice[torch.arange(rows.start, rows.stop) % len(choice)].to(device)


def chosen_labels(labels: Labels, num_classes: int, class_names: Sequence[str] | None = None) -> Tensor:
    """Turn the classes a user asks for into labels (K,) int64; None asks for each class once.

    Args:
        labels: numbers of classes, or their names; a text is always a name.
        num_classes: how many classes there are.
        class_names: their names, where they are known.

    Raises:
        ValueError: a number outside 0..num_classes - 1, or an unknown name; the message lists the names.
    """
    if labels is None:
        return torch.arange(num_classes)
    number_of = {name: number for number, name in enumerate(class_names or ())}
    asked = [labels] if isinstance(labels, str) else labels
    if isinstance(asked, Sequence):
        asked = [number_of.get(label, -1) if isinstance(label, str) else label for label in asked]
    try:
        chosen = torch.as_tensor(asked).reshape(-1)
    # anything that is no number
    except (TypeError, ValueError, RuntimeError):
        chosen = torch.empty(0)
    whole = not chosen.is_floating_point() and chosen.dtype != torch.bool
    if not whole or len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= num_classes:
        shown = f"[{', '.join(map(str, labels))}]" if isinstance(labels, list | tuple) else labels
        raise ValueError(f"labels={shown}: choices: {label_choices(num_classes, class_names)}")
    return chosen.to(torch.int64)


def label_choices(num_classes: int, class_names: Sequence[str] | None) -> str:
    """Say which labels there are, for messages: "0 cat, 1 dog", or whole numbers where there are no names beside them."""
    names = list(class_names or ())
    if all(name == str(number) for number, name in enumerate(names)):
        return f"whole numbers in 0..{num_classes - 1}"
    numbered = [f"{number} {name}" for number, name in enumerate(names)]
    numbered += [str(number) for number in range(len(names), num_classes)]
    more = f", ... ({num_classes} in all)" if num_classes > LISTED else ""
    return ", ".join(numbered[:LISTED]) + more


def check_labels(labels: Any, rows: int, conditioning: Conditioner) -> None:
    """Check that the labels of a batch are those of so many images, and that the conditioner knows them.

    Raises:
        ValueError: one line with what they are and what is expected.
    """
    expected = f"whole numbers of the shape ({rows},)"
    if labels is None:
        raise ValueError(f"label=None: {type(conditioning).__name__} needs the labels of the images, {expected}")
    if not isinstance(labels, Tensor):
        raise ValueError(f"label={type(labels).__name__}: a tensor is expected, {expected}")
    if labels.is_floating_point() or labels.dtype == torch.bool or tuple(labels.shape) != (rows,):
        raise ValueError(
            f"label={str(labels.dtype).removeprefix('torch.')} {tuple(labels.shape)}: {expected} are expected"
        )
    low, high, count = int(labels.min()), int(labels.max()), conditioning.num_labels
    if low < 0 or (count is not None and high >= count):
        raise ValueError(f"label={low}..{high}: the model has the labels 0..{'' if count is None else count - 1}")
