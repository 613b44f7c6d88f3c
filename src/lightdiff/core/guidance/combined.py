"""Several kinds of guidance, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from lightdiff.core.denoiser import Condition
from lightdiff.core.guidance.base import ConditionOf, DenoiserFunction, Guidance, Guides


@dataclass(frozen=True)
class Combined(Guidance):
    """Several kinds of guidance, applied one after the other.

        denoiser_0 = the model's,    denoiser_i = part i applied to denoiser_(i - 1),    x0_hat = that of the last one

    Each part takes the estimate that the parts before it have guided for the model's own. With classifier-free guidance of scale
    c first and a weaker model of scale a second:

        x0_hat = weak(cond) + a * (null + c * (x0_hat(cond) - null) - weak(cond)),    null = x0_hat(null_cond)

    A part that is switched off by its scale changes nothing.

    Args:
        parts: the kinds of guidance by name, in the order in which they are applied.

    Raises:
        ValueError: there are no parts.
    """

    needs_condition: ClassVar[bool] = False
    """False, because each part says so for itself; see `parts_by_key`."""

    scale: float = field(default=1.0, init=False)
    parts: Mapping[str, Guidance] = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise ValueError("parts={}: at least one kind of guidance is expected")

    def scaled(self, guidance_scale: float) -> Guidance:
        """Refuse every scale, because each part has its own.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"guidance_scale={guidance_scale}: guidance=combined has no scale of its own; choices: "
            + ", ".join(f"{key}.scale" for key in self.parts_by_key())
        )

    @property
    def acts(self) -> bool:
        return any(part.acts for part in self.parts.values())

    def parts_by_key(self, key: str = "guidance") -> dict[str, Guidance]:
        """Return the single kinds of guidance that this one consists of, by their keys in a configuration."""
        return {
            name: single
            for part, guidance in self.parts.items()
            for name, single in guidance.parts_by_key(f"{key}.parts.{part}").items()
        }

    @property
    def details(self) -> str:
        """The parts that act, in their order, each with its scale: "classifier_free=2 auto=1.5 weak=0123456789ab"."""
        words: list[str] = []
        for name, part in self.parts.items():
            if part.acts:
                words += [
                    f"{name}={part.scale:g}",
                    *([part.kind] if part.kind not in ("", name) else []),
                    *part.words(),
                ]
        return " ".join(words)

    def loaded(self, guides: Guides, key: str = "guidance") -> Guidance:
        return replace(
            self, parts={name: part.loaded(guides, f"{key}.parts.{name}") for name, part in self.parts.items()}
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        return next((part.class_names for part in self.parts.values() if part.class_names), ())

    def entries(self, condition_of: ConditionOf, labels: Tensor | None, like: Tensor) -> tuple[Condition, Condition]:
        cond: Condition = {}
        null_cond: Condition = {}
        for part in self.parts.values():
            own, own_null = part.entries(condition_of, labels, like)
            cond.update(own)
            null_cond.update(own_null)
        return cond, null_cond

    def guided(self, denoiser: DenoiserFunction, null_cond: Condition | None) -> DenoiserFunction:
        for part in self.parts.values():
            if part.acts:
                denoiser = part.guided(denoiser, null_cond)
        return denoiser
