"""Classifier-free guidance, which exaggerates what the condition changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, second_time
from lightdiff.core.guidance.base import DenoiserFunction, Guidance, acts_at, check_interval
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.shapes import per_image


@dataclass(frozen=True)
class ClassifierFree(Guidance):
    """Classifier-free guidance; see `ClassifierFreeGuidance` for the equations.

    Args:
        scale: 1 is plainly conditional, 0 unconditional, above 1 the effect of the condition is exaggerated.
        interval: (lowest, highest) time in [0, 1] at which guidance acts. None: it always acts.
        rescale: how far the contrast of the guided x0_hat is brought back to that of the conditional one, in [0, 1].

    Raises:
        ValueError: scale is not a finite number, or interval or rescale is out of its range.
    """

    interval: Sequence[float] | None = None
    rescale: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_interval_and_rescale(self.interval, self.rescale)

    @property
    def kind(self) -> str:
        return ""

    def guided(self, denoiser: DenoiserFunction, null_cond: Condition | None) -> DenoiserFunction:
        assert null_cond is not None
        return ClassifierFreeGuidance(denoiser, self.scale, null_cond, interval=self.interval, rescale=self.rescale)


class ClassifierFreeGuidance:
    """A denoiser with classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6, written for x0_hat).

        guided = x0_hat(null_cond) + guidance_scale * (x0_hat(cond) - x0_hat(null_cond))

    With an interval [low, high] (Kynkaanniemi et al. 2024, arXiv:2404.07724, section 3, with times in place of noise levels):

        x0_hat = guided at low <= t <= high,    x0_hat(cond) at all other times

    With rescale = phi > 0 the contrast of the guided x0_hat, which a large scale exaggerates, is brought back (Lin et al. 2023,
    arXiv:2305.08891, eq. 15 and 16):

        x0_hat = guided * (phi * std(x0_hat(cond)) / std(guided) + 1 - phi),    std over the pixels of each image

    It is called exactly like a `Denoiser`. The conditional and the unconditional x0_hat come from one forward pass with 2 B
    images.

    Args:
        denoiser: conditional denoiser, called as denoiser(x_t, t, cond), and with s if it has takes_s = True.
        guidance_scale: 1 switches guidance off (x0_hat of the condition), 0 ignores the condition, and above 1 the effect of the
            condition is exaggerated.
        null_cond: condition of no particular class or caption, with a batch size of 1 or B.
        interval: (lowest, highest) time at which guidance acts. None: it always acts.
        rescale: phi, from 0 (the guided x0_hat keeps its contrast) to 1 (it gets that of the conditional one).

    Raises:
        ValueError: rescale is not in [0, 1], or interval is not two increasing times in [0, 1].
    """

    def __init__(
        self,
        denoiser: DenoiserFunction,
        guidance_scale: float,
        null_cond: Condition,
        *,
        interval: Sequence[float] | None = None,
        rescale: float = 0.0,
    ) -> None:
        _check_interval_and_rescale(interval, rescale)
        self.denoiser = denoiser
        self.guidance_scale = guidance_scale
        self.null_cond = null_cond
        self.interval = interval
        self.rescale = rescale
        self.schedule: NoiseSchedule = denoiser.schedule  # type: ignore[attr-defined]
        self.value_range: tuple[float, float] | None = getattr(denoiser, "value_range", (-1.0, 1.0))
        self.takes_s: bool = getattr(denoiser, "takes_s", False)
        self._joined: tuple[Condition | None, Condition] = (None, {})

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        """Return the guided x0_hat (B, C, H, W).

        Args:
            x_t: noisy images (B, C, H, W).
            t: times (B,) in [0, 1].
            cond: condition of the B images, with the same keys as null_cond.
            s: times (B,) where the jumps end, for a denoiser that takes them, or None.

        Raises:
            ValueError: cond does not have the keys of null_cond.
        """
        acts = acts_at(self.interval, t)
        if self.guidance_scale == 1 or not acts.any():
            return self.denoiser(x_t, t, cond, **second_time(self, s))
        null_cond = {name: value.expand(len(x_t), *value.shape[1:]) for name, value in self.null_cond.items()}
        if self.guidance_scale == 0 and acts.all():
            return self.denoiser(x_t, t, null_cond, **second_time(self, s))

        if cond is None or cond.keys() != null_cond.keys():
            raise ValueError(f"cond={sorted(cond or {})}: the keys of null_cond are expected: {sorted(null_cond)}")
        # the condition is the same at every step of a trajectory, so it is joined only once
        if self._joined[0] is not cond:
            self._joined = cond, {name: torch.cat([cond[name], null_cond[name]]) for name in cond}
        both = second_time(self, None if s is None else torch.cat([s, s]))
        conditional, null = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), self._joined[1], **both).chunk(2)
        guided = null + self.guidance_scale * (conditional - null)
        if self.rescale:
            guided = guided * (1 + self.rescale * (_std(conditional) / _std(guided) - 1))
        return torch.where(per_image(acts.to(x_t.device), x_t) > 0, guided, conditional)


def _check_interval_and_rescale(interval: Sequence[float] | None, rescale: float) -> None:
    """Refuse settings out of their range.

    Raises:
        ValueError: one line with the argument, its value and what is expected.
    """
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale={rescale}: a number in [0, 1] is expected")
    check_interval(interval)


def _std(images: Tensor) -> Tensor:
    """Return the standard deviation of each image, at least 1e-8: (B, 1, ..., 1)."""
    return per_image(images.flatten(1).std(1), images).clamp(min=1e-8)
