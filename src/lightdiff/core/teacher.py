"""The frozen teacher of a few-step objective: a trained denoiser whose estimates are what the student learns."""

from __future__ import annotations

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.frozen import Frozen
from lightdiff.core.guidance import ClassifierFreeGuidance
from lightdiff.core.same_noise import same_noise
from lightdiff.core.scales import Scales
from lightdiff.core.shapes import per_image


class Teacher(Frozen[Denoiser]):
    """A frozen copy of a denoiser that estimates images for a student, at the student's times and with the student's scales.

    The teacher may have another schedule than the student. It is asked at its own time of the same noise level, with x_t scaled
    to its own schedule; see `same_noise`.

    Args:
        denoiser: the trained denoiser. It is copied and stays as it is.
        guidance_scale: scale of classifier-free guidance, for which the teacher's own null condition is used. 1: no guidance.

    Attributes:
        sha256: SHA-256 of the weights, which tells whether two teachers are the same.

    Raises:
        ValueError: the denoiser's schedule has no inverse, or a denoiser without a condition shall be guided.
    """

    def __init__(self, denoiser: Denoiser, guidance_scale: float = 1.0) -> None:
        if not denoiser.schedule.has_inverse:
            raise ValueError(f"teacher: {type(denoiser.schedule).__name__} has no inverse (t_from_log_snr)")
        if guidance_scale != 1 and denoiser.conditioner is None:
            raise ValueError(
                f"guidance_scale={guidance_scale}: the teacher has no condition, so that nothing can guide it; choices: 1"
            )
        super().__init__(denoiser)
        self.guidance_scale = guidance_scale

    @property
    def denoiser(self) -> Denoiser:
        """The frozen copy of the denoiser."""
        return self.module

    @torch.no_grad()
    def condition(self, inputs: Tensor, drop: Tensor, like: Tensor) -> Condition | None:
        """Return the teacher's own condition of B images; None if it has none.

        Args:
            inputs: what the conditioners of teacher and student take (B, ...).
            drop: rows (B,) that get the null condition.
            like: a tensor on the device and in the dtype of the images.
        """
        conditioner = self.at(like).conditioner
        return None if conditioner is None else conditioner(inputs, drop)

    @torch.no_grad()
    def __call__(
        self,
        x_t: Tensor,
        t: Tensor,
        at_t: Scales,
        cond: Condition | None = None,
        *,
        until: tuple[Tensor, Scales] | None = None,
    ) -> Tensor:
        """Return the teacher's x0_hat (B, ...), guided if it has a guidance scale.

        Args:
            x_t: noisy images (B, ...).
            t: their times (B,) on the student's schedule.
            at_t: exact scales (B,) of the student's schedule at t.
            cond: what `condition` has returned.
            until: the times s (B,) where the jumps end, with their scales (B,), for a teacher that takes s. None: the ordinary
                estimate.

        Raises:
            ValueError: a conditional teacher is asked without a condition.
        """
        denoiser = self.at(x_t)
        if cond is None and denoiser.conditioner is not None:
            raise ValueError("teacher: it needs a condition; give `losses` what `Objective.conditioned` returns")
        t, factor = same_noise(denoiser.schedule, t, at_t)
        x_t = per_image(factor, x_t) * x_t
        s = None if until is None else same_noise(denoiser.schedule, *until)[0]
        if self.guidance_scale == 1:
            return denoiser(x_t, t, cond, s)
        null_cond = denoiser.conditioner.unconditional(cond)  # type: ignore[union-attr,operator]
        return ClassifierFreeGuidance(denoiser, self.guidance_scale, null_cond)(x_t, t, cond, s)
