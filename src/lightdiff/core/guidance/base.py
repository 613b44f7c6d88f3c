"""The base class of the kinds of guidance, and no guidance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.frozen import Frozen

if TYPE_CHECKING:
    from lightdiff.core.guidance.classifier import NoisyClassifier

DenoiserFunction = Callable[..., Tensor]
"""Function (x_t, t, cond) -> x0_hat with the attribute `schedule`. One with takes_s = True also takes a keyword s."""

ConditionOf = Callable[[nn.Module], tuple[Condition, Condition]]
"""Function (conditioner of another model) -> its condition of the B images, and its null condition of a batch of 1 or B."""


class Guides(Protocol):
    """Where a guidance gets the trained models from that its settings name.

    Each method raises a ValueError of one line that begins with the key, where a model cannot be had or does not fit.
    """

    def denoiser(self, key: str, path: str, weights: Literal["ema", "raw"]) -> Denoiser:
        """Return the trained denoiser at `path`, which the configuration key `key` names, with "ema" or "raw" weights."""
        ...

    def classifier(self, key: str, path: str) -> NoisyClassifier:
        """Return the trained classifier of noisy images at `path`, which the configuration key `key` names."""
        ...


@dataclass(frozen=True)
class Guidance(ABC):
    """Base class of the kinds of guidance.

    Args:
        scale: strength of the guidance. For every kind but `ClassifierGuided`, 1 switches it off.

    Raises:
        ValueError: scale is not a finite number.
    """

    needs_condition: ClassVar[bool] = True
    """Whether only a model with a condition can be guided in this way."""

    needs_models: ClassVar[bool] = False
    """Whether trained models that the settings name take part."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"scale={self.scale}: a finite number is expected")

    def scaled(self, guidance_scale: float) -> Guidance:
        """Return this guidance with another scale.

        Raises:
            ValueError: this kind cannot have that scale.
        """
        if not math.isfinite(guidance_scale):
            raise ValueError(f"guidance_scale={guidance_scale}: a finite number is expected")
        return replace(self, scale=guidance_scale)

    @property
    def acts(self) -> bool:
        """Whether the guided denoiser differs from the plain one at all."""
        return self.scale != 1

    def parts_by_key(self, key: str = "guidance") -> dict[str, Guidance]:
        """Return the single kinds of guidance that this one consists of, by their keys in a configuration: itself."""
        return {key: self}

    @property
    def kind(self) -> str:
        """Name of the kind in tables and in names of folders. It is "" for classifier-free guidance alone."""
        return type(self).__name__

    @property
    def details(self) -> str:
        """Kind, and settings beside the scale that differ from their defaults, in words such as "interval=0.2-0.8"."""
        if self.scale == 1 and not self.acts:
            return ""
        return " ".join(filter(None, [self.kind, *self.words()]))

    def words(self) -> list[str]:
        """Return the settings beside the scale that differ from their defaults. The SHA-256 of a model stands for its path."""
        others = [(f.name, getattr(self, f.name), f.default) for f in fields(self) if f.name != "scale" and f.compare]
        found = {name: value for name, value, default in others if value != default}
        found |= {name: model.sha256[:12] for name, model in self.models.items()}
        return [f"{name}={_text(value)}" for name, value in found.items()]

    @property
    def models(self) -> dict[str, Frozen[Any]]:
        """The trained models that take part in the guidance, by the settings that name them; empty before `loaded`."""
        return {}

    def loaded(self, guides: Guides, key: str = "guidance") -> Guidance:
        """Return this guidance with the trained models that its settings name.

        Args:
            guides: where the models come from.
            key: key of these settings in a configuration, for messages.

        Raises:
            ValueError: a model cannot be loaded or does not fit; one line that begins with its key.
        """
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels that the guidance can aim at by itself, also with a model without a condition; () for none."""
        return ()

    def entries(self, condition_of: ConditionOf, labels: Tensor | None, like: Tensor) -> tuple[Condition, Condition]:
        """Return what the guidance adds to the condition of B images and to the null condition, for its own models.

        The names begin with the owner's and a dot, so that the model that draws does not take them for its own.

        Args:
            condition_of: makes the condition of another model's conditioner.
            labels: classes (B,) to show, on the device of the images. None: the images are not drawn by classes.
            like: a tensor on the device and in the dtype of the images.
        """
        return {}, {}

    @abstractmethod
    def guided(self, denoiser: DenoiserFunction, null_cond: Condition | None) -> DenoiserFunction:
        """Return the guided denoiser.

        Args:
            denoiser: the denoiser of the model.
            null_cond: condition of no particular class or caption. None: the model has no condition.
        """


@dataclass(frozen=True)
class NoGuidance(Guidance):
    """No guidance: the model's own x0_hat for its condition."""

    needs_condition: ClassVar[bool] = False

    scale: float = field(default=1.0, init=False)

    def scaled(self, guidance_scale: float) -> Guidance:
        """Return this object for the scale 1.

        Raises:
            ValueError: guidance_scale is another number.
        """
        if guidance_scale != 1:
            raise ValueError(
                f"guidance_scale={guidance_scale}: guidance=none has no scale; choose guidance=classifier_free, or leave one "
                "of the two out"
            )
        return self

    def guided(self, denoiser: DenoiserFunction, null_cond: Condition | None) -> DenoiserFunction:
        return denoiser


def check_interval(interval: Sequence[float] | None) -> None:
    """Refuse an interval of times that is none.

    Raises:
        ValueError: it is not two increasing times in [0, 1].
    """
    if interval is not None and not (len(interval) == 2 and 0 <= interval[0] <= interval[1] <= 1):
        raise ValueError(f"interval={list(interval)}: two times, the lower one first, in [0, 1] are expected")


def acts_at(interval: Sequence[float] | None, t: Tensor) -> Tensor:
    """Return whether guidance acts at each time t (B,), which it does within the interval, or everywhere where that is None."""
    if interval is None:
        # on the CPU, because reading a value from a GPU would wait for it
        return torch.ones(len(t), dtype=torch.bool)
    low, high = interval
    return (low <= t) & (t <= high)


def _text(value: object) -> str:
    """Return a setting in words without spaces: 0.2-0.8 for a sequence."""
    return "-".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
