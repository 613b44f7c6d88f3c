"""Conditions for pictures and measurements while nobody asks for any: those of the images of a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightdiff.conditioning.base import Labels, chosen_labels
from lightdiff.conditioning.chance import chance_of_rows
from lightdiff.model.generation import Generation
from lightdiff.model.loop import batches

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel


def example_of(model: DiffusionModel) -> dict[str, Any]:
    """Return arguments of `Generation.of` for nothing in particular, which every model accepts; see `Conditioner.example`."""
    return {} if model.conditioning is None else model.conditioning.example()


def conditioned_like(
    generation: Generation, model: DiffusionModel, store: Any, count: int, *, labels: Labels = None
) -> Generation:
    """Return the generation whose image i has the condition of image i modulo K of a store, if the model takes images.

    A model that takes no images as its condition leaves the generation as it is.

    Args:
        generation: how images are drawn.
        model: the model.
        store: the images, of which store[rows] is a batch, with the attribute `labels`, such as `DiffSet.val_set`.
        count: number of images that will be drawn. K is this number, or that of the images in the store if there are fewer.
        labels: classes to show in place of those of the images, for a model that takes labels too.
    """
    conditioner = model.conditioning
    if conditioner is None or "condition" not in conditioner.takes:
        return generation
    parts = batches(range(min(count, len(store))), None)
    found = [(store[list(rows)], chance_of_rows(rows)) for rows in parts]
    condition = _joined([conditioner.condition_of(*each) for each in found])
    if labels is not None:
        return replace(
            generation,
            choice=conditioner.choose(labels=labels, prompt=None, condition=condition),
            labels=chosen_labels(labels, len(model.class_names), model.class_names),
            condition=condition,
        )
    choice = _joined([conditioner.choice_of(*each) for each in found])
    return replace(generation, choice=choice, labels=store.labels[: len(condition)].cpu(), condition=condition)


def pictured(generation: Generation, model: DiffusionModel, rows: range) -> Tensor | None:
    """Return the condition images of images `rows`, float (len(rows), 1 or C, H, W) in [-1, 1]; None if there are none."""
    if generation.condition is None:
        return None
    numbers = torch.arange(rows.start, rows.stop) % len(generation.condition)
    return model.conditioning.pictured(generation.condition[numbers])  # type: ignore[union-attr]


def _joined(parts: list[Any]) -> Any:
    """Return tensors, or tuples of tensors, of several batches as one."""
    if isinstance(parts[0], Tensor):
        return torch.cat([part.cpu() for part in parts])
    return tuple(_joined([*each]) for each in zip(*parts, strict=True))
