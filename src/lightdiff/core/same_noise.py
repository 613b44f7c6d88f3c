"""The same noise level on two schedules, so that a denoiser can be asked about images of another one's schedule."""

from __future__ import annotations

import torch
from torch import Tensor

from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule


def same_noise(schedule: NoiseSchedule, t: Tensor, at_t: Scales) -> tuple[Tensor, Tensor]:
    """Return the time t' at which a schedule has a noise level of another one, and the factor by which x_t is scaled there.

        tau'(t') = tau(t),    x_t' = (alpha'(t') + sigma'(t')) / (alpha(t) + sigma(t)) x_t,    tau = sigma / (alpha + sigma)

    Where both schedules have the same scales at t, t' is t and the factor is 1. A noise level above the schedule's largest one
    is taken for the largest.

    Args:
        schedule: the schedule with t'.
        t: times (B,) of the other schedule.
        at_t: exact scales (B,) of the other schedule at t.

    Returns:
        t' in the dtype of t, and the factor, both (B,).

    Raises:
        NotImplementedError: the schedule has no inverse.
    """
    here = schedule.exact(t)
    # compared row by row on the device, because a decision in Python would wait for a GPU
    same = (here.alpha == at_t.alpha) & (here.sigma == at_t.sigma)
    own = torch.where(same, t, schedule.t_from_flow_time(at_t.flow_time).clamp(max=1).to(t.dtype))
    here = schedule.exact(own)
    return own, torch.where(same, 1, (here.alpha + here.sigma) / (at_t.alpha + at_t.sigma))
