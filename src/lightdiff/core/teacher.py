"""The frozen teacher of a few-step objective: a trained denoiser whose estimates are what the student learns."""

from __future__ import annotations

import copy
import hashlib

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.guidance import ClassifierFreeGuidance
from lightdiff.core.scales import Scales
from lightdiff.core.shapes import per_image


class Teacher:
    """A frozen copy of a denoiser that estimates images for a student, at the student's times and with the student's scales.

    The teacher may have another schedule than the student. It is asked at its own time t' of the same flow time (noise level),
    with x_t scaled to its own schedule:

        x0_hat(x_t' , t'),    tau'(t') = tau(t),    x_t' = (alpha'(t') + sigma'(t')) / (alpha(t) + sigma(t)) x_t

    Where both schedules have the same scales at t, t' is t and x_t' is x_t, bit for bit. A noise level above the teacher's
    largest one is taken for the largest.

    It is no module, so that an objective that holds a teacher neither trains nor saves nor averages the teacher's weights. They
    move to the device and the dtype of the images when they are first used there.

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
        self.denoiser: Denoiser = copy.deepcopy(denoiser).eval().requires_grad_(False)
        self.guidance_scale = guidance_scale
        self.sha256 = _sha256_of(denoiser)
        self._place: tuple[torch.device, torch.dtype] | None = None

    @torch.no_grad()
    def condition(self, inputs: Tensor, drop: Tensor, like: Tensor) -> Condition | None:
        """Return the teacher's own condition of B images; None if it has none.

        Args:
            inputs: what the conditioners of teacher and student take (B, ...).
            drop: rows (B,) that get the null condition.
            like: a tensor on the device and in the dtype of the images.
        """
        conditioner = self._at(like).conditioner
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
        denoiser = self._at(x_t)
        if cond is None and denoiser.conditioner is not None:
            raise ValueError("teacher: it needs a condition; give `losses` what `Objective.conditioned` returns")
        t, factor = self._own(t, at_t)
        x_t = per_image(factor, x_t) * x_t
        s = None if until is None else self._own(*until)[0]
        if self.guidance_scale == 1:
            return denoiser(x_t, t, cond, s)
        null_cond = denoiser.conditioner.unconditional(cond)  # type: ignore[union-attr,operator]
        return ClassifierFreeGuidance(denoiser, self.guidance_scale, null_cond)(x_t, t, cond, s)

    def _own(self, t: Tensor, at_t: Scales) -> tuple[Tensor, Tensor]:
        """Return the teacher's own time for t, and the factor by which x_t is scaled there, both (B,)."""
        schedule = self.denoiser.schedule
        here = schedule.exact(t)
        # compared row by row on the device, because a decision in Python would wait for a GPU
        same = (here.alpha == at_t.alpha) & (here.sigma == at_t.sigma)
        own = torch.where(same, t, schedule.t_from_flow_time(at_t.flow_time).clamp(max=1).to(t.dtype))
        here = schedule.exact(own)
        return own, torch.where(same, 1, (here.alpha + here.sigma) / (at_t.alpha + at_t.sigma))

    def _at(self, like: Tensor) -> Denoiser:
        """Return the denoiser on the device and in the dtype of a tensor."""
        place = like.device, like.dtype
        if self._place != place:
            # validation may come first, and weights that were moved in inference mode could not be used in training
            with torch.inference_mode(False):
                self.denoiser.to(*place)
            self._place = place
        return self.denoiser


def _sha256_of(denoiser: Denoiser) -> str:
    """Return the SHA-256 of the weights with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, weight in denoiser.state_dict().items():
        if isinstance(weight, Tensor):
            digest.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
