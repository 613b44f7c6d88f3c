"""Classifier-free guidance, which turns a conditional denoiser into another denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.shapes import per_image


class ClassifierFreeGuidance:
    """A denoiser with classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6, written for x0_hat).

        x0_hat = x0_hat(null_cond) + guidance_scale * (x0_hat(cond) - x0_hat(null_cond))

    It is called exactly like a `Denoiser`. The conditional and the unconditional x0_hat come from one forward pass with 2 B
    images.

    Args:
        denoiser: conditional denoiser, called as denoiser(x_t, t, cond).
        guidance_scale: 1 switches guidance off (x0_hat of the condition), 0 ignores the condition, and above 1 the effect of the
            condition is exaggerated.
        null_cond: condition of no particular class or caption, with a batch size of 1 or B.
        interval: (lowest, highest) time at which guidance acts. Outside it is off (Kynkaanniemi et al. 2024,
            arXiv:2404.07724). None: it always acts.
        rescale: how far the guided x0_hat is scaled to the standard deviation of the conditional one, from 0 (not at all) to 1
            (fully) (Lin et al. 2023, arXiv:2305.08891, section 3.4).

    Raises:
        ValueError: rescale is not in [0, 1], or interval is not two increasing times in [0, 1].
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor, Condition | None], Tensor],
        guidance_scale: float,
        null_cond: Condition,
        *,
        interval: Sequence[float] | None = None,
        rescale: float = 0.0,
    ) -> None:
        if not 0 <= rescale <= 1:
            raise ValueError(f"rescale={rescale}: a number in [0, 1] is expected")
        if interval is not None and not (len(interval) == 2 and 0 <= interval[0] <= interval[1] <= 1):
            raise ValueError(f"interval={list(interval)}: two times, the lower one first, in [0, 1] are expected")
        self.denoiser = denoiser
        self.guidance_scale = guidance_scale
        self.null_cond = null_cond
        self.interval = interval
        self.rescale = rescale
        self.schedule: NoiseSchedule = denoiser.schedule  # type: ignore[attr-defined]
        self.value_range: tuple[float, float] = getattr(denoiser, "value_range", (-1.0, 1.0))
        self._joined: tuple[Condition | None, Condition] = (None, {})

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        """Return the guided x0_hat (B, C, H, W).

        Args:
            x_t: noisy images (B, C, H, W).
            t: times (B,) in [0, 1].
            cond: condition of the B images, with the same keys as null_cond.

        Raises:
            ValueError: cond does not have the keys of null_cond.
        """
        acts = self._acts(t)
        if self.guidance_scale == 1 or not acts.any():
            return self.denoiser(x_t, t, cond)
        null_cond = {name: value.expand(len(x_t), *value.shape[1:]) for name, value in self.null_cond.items()}
        if self.guidance_scale == 0 and acts.all():
            return self.denoiser(x_t, t, null_cond)

        if cond is None or cond.keys() != null_cond.keys():
            raise ValueError(f"cond={sorted(cond or {})}: the keys of null_cond are expected: {sorted(null_cond)}")
        # the condition is the same at every step of a trajectory, so it is joined only once
        if self._joined[0] is not cond:
            self._joined = cond, {name: torch.cat([cond[name], null_cond[name]]) for name in cond}
        conditional, null = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), self._joined[1]).chunk(2)
        guided = null + self.guidance_scale * (conditional - null)
        if self.rescale:
            guided = guided * (1 + self.rescale * (_std(conditional) / _std(guided) - 1))
        return torch.where(per_image(acts.to(x_t.device), x_t) > 0, guided, conditional)

    def _acts(self, t: Tensor) -> Tensor:
        """Return whether guidance acts at each time t (B,)."""
        if self.interval is None:
            # on the CPU, because reading a value from a GPU would wait for it
            return torch.ones(len(t), dtype=torch.bool)
        low, high = self.interval
        return (low <= t) & (t <= high)


def _std(images: Tensor) -> Tensor:
    """Return the standard deviation of each image, at least 1e-8: (B, 1, ..., 1)."""
    return per_image(images.flatten(1).std(1), images).clamp(min=1e-8)
