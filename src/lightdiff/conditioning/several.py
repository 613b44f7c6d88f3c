"""Conditioners: several conditions at once, such as a class and an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightdiff.conditioning.base import Conditioner, Inputs, Labels
from lightdiff.conditioning.chance import numbers_of


class Conditioners(Conditioner):
    """Several conditioners, whose conditions are joined into one. Each drops its own condition, independently of the others.

    Vectors are added. Tokens are joined along L and images along their channels.

    A user's wish goes to each conditioner that takes it: labels to those of labels, a prompt to those of text, images to that of
    images. Without labels and prompt, the conditioners of labels and of text show the same class.

    Args:
        parts: the conditioners by name, or in a list, whose names are then 0, 1, ... At most one of them takes images.

    Raises:
        ValueError: there are no parts, several that take images, or vectors or tokens of different widths.
    """

    def __init__(self, parts: Mapping[str, Conditioner] | Sequence[Conditioner]) -> None:
        super().__init__()
        named = parts if isinstance(parts, Mapping) else {str(number): part for number, part in enumerate(parts)}
        if not named:
            raise ValueError("parts={}: at least one conditioner is expected")
        self._parts = nn.ModuleDict(dict(named))
        taking = [name for name, part in named.items() if "condition" in part.takes]
        if len(taking) > 1:
            raise ValueError(f"parts={', '.join(taking)}: at most one of the conditioners may take images")
        for width in ("cond_dim", "token_dim"):
            found = {name: self._width(part, width) for name, part in named.items()}
            if len({value for value in found.values() if value is not None}) > 1:
                shown = ", ".join(f"{name} {value}" for name, value in found.items() if value is not None)
                raise ValueError(f"parts: {width} must be the same in all of them, but it is {shown}")
        self.takes = tuple(dict.fromkeys(wish for part in named.values() for wish in part.takes))
        self.augmentation = max(part.augmentation for part in named.values())
        self.by_class = all(part.by_class for part in named.values() if "condition" not in part.takes)
        # with condition images, samples show the captions of these
        self.examples = None if taking else next((part.examples for part in named.values() if part.examples), None)
        self.cond_keys = tuple(dict.fromkeys(key for part in named.values() for key in part.cond_keys))
        self.class_names = next((part.class_names for part in named.values() if part.class_names), None)
        self.drop_prob = max(part.drop_prob for part in named.values())

    @staticmethod
    def _width(part: Conditioner, name: str) -> int | None:
        key = {"cond_dim": "vector", "token_dim": "tokens", "image_channels": "image"}[name]
        return getattr(part, name, None) if key in part.cond_keys else None

    @property
    def parts(self) -> dict[str, Conditioner]:
        """The conditioners by name."""
        return dict(self._parts.items())  # type: ignore[arg-type]

    @property
    def _list(self) -> list[Conditioner]:
        return [*self._parts.values()]  # type: ignore[list-item]

    @property
    def cond_dim(self) -> int | None:
        """Width of the vectors; None if there are none."""
        return next((width for part in self._list if (width := self._width(part, "cond_dim"))), None)

    @property
    def token_dim(self) -> int | None:
        """Width of the tokens; None if there are none."""
        return next((width for part in self._list if (width := self._width(part, "token_dim"))), None)

    @property
    def image_channels(self) -> int | None:
        """Number of channels of the image; None if there is none."""
        return next((width for part in self._list if (width := self._width(part, "image_channels"))), None)

    @property
    def num_labels(self) -> int | None:
        return next((part.num_labels for part in self._list if "labels" in part.takes), None)

    @property
    def guidance_acts(self) -> bool:
        return any(part.guidance_acts for part in self._list)

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        return self._of_images.condition_shape

    @property
    def _of_images(self) -> Conditioner:
        """The conditioner that takes images."""
        return next(part for part in self._list if "condition" in part.takes)

    def pictured(self, condition: Tensor) -> Tensor:
        return self._of_images.pictured(condition)

    def check(self, batch: dict[str, Any]) -> None:
        for part in self._list:
            part.check(batch)

    def prepare(self, captions: Sequence[str] | None) -> None:
        for part in self._list:
            part.prepare(captions)

    def example(self) -> dict[str, Any]:
        return {name: value for part in self._list for name, value in part.example().items()}

    def condition_of(self, batch: dict[str, Any], chance: Tensor) -> Tensor:
        number = self._list.index(self._of_images)
        return self._of_images.condition_of(batch, numbers_of(chance, len(self._list))[:, number])

    def choice_of(self, batch: dict[str, Any], chance: Tensor) -> tuple[Inputs, ...]:
        chances = numbers_of(chance, len(self._list)).unbind(1)
        return tuple(part.choice_of(batch, own) for part, own in zip(self._list, chances, strict=True))

    def inputs(self, batch: dict[str, Any], chance: Tensor) -> tuple[Inputs, ...]:
        chances = numbers_of(chance, len(self._list)).unbind(1)
        return tuple(part.inputs(batch, own) for part, own in zip(self._list, chances, strict=True))

    def choose(
        self, *, labels: Labels, prompt: str | Sequence[str] | None, condition: Tensor | None = None
    ) -> tuple[Inputs, ...]:
        if prompt is not None and "prompt" not in self.takes:
            raise ValueError(f"prompt={prompt}: this model knows no text; choices: {', '.join(self.takes)}")
        if labels is not None and "labels" not in self.takes:
            raise ValueError(f"labels={labels}: this model knows no classes; choices: {', '.join(self.takes)}")

        def chosen(part: Conditioner) -> Inputs:
            own_prompt = prompt if "prompt" in part.takes else None
            # a text says more than the class, of which it may be a caption
            own_labels = labels if "labels" in part.takes and own_prompt is None else None
            images = {"condition": condition} if "condition" in part.takes else {}
            return part.choose(labels=own_labels, prompt=own_prompt, **images)

        return tuple(chosen(part) for part in self._list)

    def inputs_of_rows(
        self, choice: tuple[Inputs, ...], rows: range, device: torch.device, noise: float | None = None
    ) -> tuple[Inputs, ...]:
        pairs = zip(self._list, choice, strict=True)
        return tuple(part.inputs_of_rows(own, rows, device, noise) for part, own in pairs)

    def dropped(self, drop: Tensor) -> Tensor:
        """Return which of B training images lose which condition, bool (B, parts)."""
        chances = numbers_of(drop, len(self._list)).unbind(1)
        return torch.stack([part.dropped(own) for part, own in zip(self._list, chances, strict=True)], dim=1)

    def forward(self, inputs: tuple[Inputs, ...], drop: Tensor | None = None) -> dict[str, Tensor]:
        drops = [None] * len(inputs) if drop is None else drop.unbind(1)
        triples = zip(self._list, inputs, drops, strict=True)
        return joined([part(own, dropped) for part, own, dropped in triples])

    def null(self) -> dict[str, Tensor]:
        return joined([part.null() for part in self._list])

    def unconditional(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        return joined([part.unconditional(cond) for part in self._list])

    def same_inputs(self, other: Conditioner) -> bool:
        if not isinstance(other, Conditioners) or self.parts.keys() != other.parts.keys():
            return False
        return all(part.same_inputs(other.parts[name]) for name, part in self.parts.items())


def joined(conditions: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return several conditions, each with a batch size of 1 or B, as one: vectors added, tokens and images joined.

    Where only some of the tokens come with a mask, the others count as words.
    """
    rows = max(len(value) for cond in conditions for value in cond.values())
    expanded = [{key: value.expand(rows, *value.shape[1:]) for key, value in cond.items()} for cond in conditions]
    with_mask = any("mask" in cond for cond in expanded)
    for cond in expanded:
        if with_mask and "tokens" in cond and "mask" not in cond:
            cond["mask"] = cond["tokens"].new_ones(cond["tokens"].shape[:2])
    columns = {key: [cond[key] for cond in expanded if key in cond] for cond in expanded for key in cond}
    return {key: _JOIN.get(key, _along_channels)(values) for key, values in columns.items()}


def _added(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum(0) if len(values) > 1 else values[0]


def _along_channels(values: list[Tensor]) -> Tensor:
    return torch.cat(values, dim=1)


_JOIN = {"vector": _added}
"""Key of a condition -> how its values are joined, where it is not along their second dimension."""
