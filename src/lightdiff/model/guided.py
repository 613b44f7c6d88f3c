"""From the guidance that is asked for to one that a model can have, with the trained models that take part in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightdiff.config.instantiate import import_safe_target, instantiate
from lightdiff.core import ClassifierFree, Guidance, Guides

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel


def fitting_guidance(
    model: DiffusionModel,
    guidance: Guidance | Mapping[str, Any] | None,
    guidance_scale: float | None,
    guides: Guides | None = None,
) -> Guidance:
    """Return the guidance that is asked for, with its trained models, checked against the model that draws.

    Args:
        model: the model that draws.
        guidance, guidance_scale: as for `chosen_guidance`.
        guides: where the guidance's models come from. None: from their files, which name no classes but lightdiff's own.

    Raises:
        ValueError: as `chosen_guidance` raises it; or the model cannot be guided so, or a guide cannot be loaded or does not fit.
    """
    # imported here, because it needs the models, which are built on this file
    from lightdiff.model.guides import GuideFiles

    fitting = chosen_guidance(guidance, guidance_scale).loaded(guides or GuideFiles(model))
    for key, part in fitting.parts_by_key().items():
        if model.conditioning is None and part.needs_condition and part.acts:
            named = f"{key}.scale={part.scale}" if guidance_scale is None else f"guidance_scale={guidance_scale}"
            raise ValueError(f"{named}: this model is unconditional (trained with conditioning=none); choices: 1")
    return fitting


def chosen_guidance(guidance: Guidance | Mapping[str, Any] | None, guidance_scale: float | None) -> Guidance:
    """Return the guidance that is asked for.

    Args:
        guidance: the guidance, or its settings as in the group guidance, which are those of `ClassifierFree` where they name no
            `_target_`. None: classifier-free guidance.
        guidance_scale: replaces the scale of `guidance`. None: the scale of `guidance`, or 1.

    Raises:
        ValueError: a setting that does not exist or is out of its range, or a scale for a guidance that has none.
    """
    chosen: Guidance = ClassifierFree()
    if isinstance(guidance, Guidance):
        chosen = guidance
    elif guidance is not None:
        settings = {"_target_": "lightdiff.core.ClassifierFree", **guidance}
        chosen = instantiate(settings, key="guidance", importer=import_safe_target)
    return chosen if guidance_scale is None else chosen.scaled(guidance_scale)


def check_aim(guidance: Guidance, labels: Tensor | None) -> None:
    """Refuse a classifier that acts where the images are not drawn by classes.

    Args:
        guidance: the guidance with its models.
        labels: the classes of the images. None: they are not drawn by classes.

    Raises:
        ValueError: one line with the key of the classifier.
    """
    for key, part in guidance.parts_by_key().items():
        if part.class_names and part.acts and labels is None:
            raise ValueError(
                f"{key}.scale={part.scale:g}: a classifier aims at classes; labels=... is needed, and no prompt"
            )
