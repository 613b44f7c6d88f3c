"""Guidance by a weaker model: what the model does better than the weaker one is exaggerated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser, second_time
from lightdiff.core.frozen import Frozen
from lightdiff.core.guidance.base import ConditionOf, DenoiserFunction, Guidance, Guides, acts_at, check_interval
from lightdiff.core.guidance.entries import entries_of
from lightdiff.core.same_noise import same_noise
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.shapes import per_image


@dataclass(frozen=True)
class AutoGuided(Guidance):
    """Guidance by a weaker model; see `AutoGuidance` for the equations. The model may be conditional or unconditional.

    Args:
        scale: 1 is the model alone, 0 the weaker one alone, above 1 their difference is exaggerated.
        weak: run folder, checkpoint or exported model of the weaker model.
        weak_weights: "ema" for its averaged weights (the raw ones if it has none), or "raw".
        interval: (lowest, highest) time in [0, 1] at which guidance acts. None: it always acts.
        weak_denoiser: the weaker model, which `loaded` gets from `weak`.

    Raises:
        ValueError: scale is not a finite number, or interval is out of its range.
    """

    needs_condition: ClassVar[bool] = False
    needs_models: ClassVar[bool] = True

    weak: str = field(kw_only=True)
    weak_weights: Literal["ema", "raw"] = "ema"
    interval: Sequence[float] | None = None
    weak_denoiser: WeakDenoiser | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval(self.interval)

    @property
    def kind(self) -> str:
        return "auto"

    @property
    def models(self) -> dict[str, Frozen[Any]]:
        return {} if self.weak_denoiser is None else {"weak": self.weak_denoiser}

    def loaded(self, guides: Guides, key: str = "guidance") -> Guidance:
        if self.weak_denoiser is not None:
            return self
        weak = guides.denoiser(f"{key}.weak", self.weak, self.weak_weights)
        return replace(self, weak_denoiser=WeakDenoiser(weak))

    def entries(self, condition_of: ConditionOf, labels: Tensor | None, like: Tensor) -> tuple[Condition, Condition]:
        assert self.weak_denoiser is not None
        return self.weak_denoiser.entries(condition_of, like)

    def guided(self, denoiser: DenoiserFunction, null_cond: Condition | None) -> DenoiserFunction:
        assert self.weak_denoiser is not None
        return AutoGuidance(denoiser, self.weak_denoiser, self.scale, interval=self.interval)


class WeakDenoiser(Frozen[Denoiser]):
    """A frozen denoiser that takes its own entries of a condition, which its own conditioner has made.

    Args:
        module: the trained denoiser of the weaker model.
    """

    takes_s: bool

    def __init__(self, module: Denoiser) -> None:
        super().__init__(module)
        self.schedule: NoiseSchedule = self.module.schedule
        self.takes_s = self.module.takes_s
        self._owner = self.sha256[:12]

    def entries(self, condition_of: ConditionOf, like: Tensor) -> tuple[Condition, Condition]:
        """Return the entries of the condition and of the null condition that are this denoiser's; see `Guidance.entries`."""
        conditioner = self.at(like).conditioner
        if conditioner is None:
            return {}, {}
        both = condition_of(conditioner)
        cond, null_cond = ({f"{self._owner}.{name}": value for name, value in each.items()} for each in both)
        return cond, null_cond

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        """Return the weaker model's x0_hat (B, C, H, W); the arguments are those of `Denoiser`."""
        return self.at(x_t)(x_t, t, entries_of(cond, self._owner), **second_time(self, s))


class AutoGuidance:
    """A denoiser that is guided by a weaker one (Karras et al. 2024, arXiv:2406.02507, eq. 3, written for x0_hat).

        guided = weak x0_hat + guidance_scale * (x0_hat - weak x0_hat)

    With an interval [low, high]:

        x0_hat = guided at low <= t <= high,    plain x0_hat at all other times

    The weaker model makes the same mistakes more strongly, so that the difference points away from them. It should be a smaller
    model, or one that was trained less, on the same images. It may have another noise schedule: it is asked at its own time of
    the same noise level, with x_t scaled to its own schedule; see `same_noise`.

    It is called exactly like a `Denoiser`. The weaker denoiser gets the same `cond`.

    Args:
        denoiser: the denoiser, called as denoiser(x_t, t, cond), and with s if it has takes_s = True.
        weak_denoiser: the weaker one, called in the same way.
        guidance_scale: 1 is the denoiser alone, 0 the weaker one alone; the other is then not called.
        interval: (lowest, highest) time at which guidance acts. None: it always acts.

    Raises:
        ValueError: interval is not two increasing times in [0, 1].
    """

    def __init__(
        self,
        denoiser: DenoiserFunction,
        weak_denoiser: DenoiserFunction,
        guidance_scale: float,
        *,
        interval: Sequence[float] | None = None,
    ) -> None:
        check_interval(interval)
        self.denoiser = denoiser
        self.weak_denoiser = weak_denoiser
        self.guidance_scale = guidance_scale
        self.interval = interval
        self.schedule: NoiseSchedule = denoiser.schedule  # type: ignore[attr-defined]
        self.value_range: tuple[float, float] | None = getattr(denoiser, "value_range", (-1.0, 1.0))
        self.takes_s: bool = getattr(denoiser, "takes_s", False)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        """Return the guided x0_hat (B, C, H, W).

        Args:
            x_t: noisy images (B, C, H, W).
            t: times (B,) in [0, 1].
            cond: condition of the B images, or None.
            s: times (B,) where the jumps end, for denoisers that take them, or None.
        """
        acts = acts_at(self.interval, t)
        if self.guidance_scale == 1 or not acts.any():
            return self.denoiser(x_t, t, cond, **second_time(self, s))
        weak = self._weak(x_t, t, cond, s)
        if self.guidance_scale == 0 and acts.all():
            return weak
        strong = self.denoiser(x_t, t, cond, **second_time(self, s))
        guided = weak + self.guidance_scale * (strong - weak)
        return torch.where(per_image(acts.to(x_t.device), x_t) > 0, guided, strong)

    def _weak(self, x_t: Tensor, t: Tensor, cond: Condition | None, s: Tensor | None) -> Tensor:
        theirs: NoiseSchedule = self.weak_denoiser.schedule  # type: ignore[attr-defined]
        if theirs is not self.schedule:
            s = None if s is None else same_noise(theirs, s, self.schedule.exact(s))[0]
            t, factor = same_noise(theirs, t, self.schedule.exact(t))
            x_t = per_image(factor, x_t) * x_t
        return self.weak_denoiser(x_t, t, cond, **second_time(self.weak_denoiser, s))
