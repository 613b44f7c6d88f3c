"""Derivatives along a direction, by forward-mode differentiation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule


def value_and_derivative(
    function: Callable[..., Any], at: tuple[Tensor, ...], along: tuple[Tensor, ...]
) -> tuple[Any, Any]:
    """Return function(*at) and its derivative along a direction, both computed in one pass and without autocast.

    Args:
        function: function of tensors, such as a network. It is computed as it is written, even if torch.compile compiled it.
        at: its arguments.
        along: derivatives of the arguments, in the same shapes and types.
    """
    # only this kernel of attention has a derivative; under autocast the derivatives of GroupNorm have the wrong type
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), torch.autocast(at[0].device.type, enabled=False):
        # of torch's own use of torch.jit, on the first call
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")
        return torch.func.jvp(function, at, along)  # type: ignore[return-value]


def rates(schedule: NoiseSchedule, t: Tensor) -> tuple[Tensor, Scales]:
    """Return dt/dtau and (dalpha/dtau, dsigma/dtau), each (B,), at times t (B,), where tau is the flow time.

        tau = sigma / (alpha + sigma),    dtau/dt = (alpha sigma' - sigma alpha') / (alpha + sigma)^2

    They are finite at alpha = 0, where on a discrete schedule alpha' is infinite.
    """

    def scales(t: Tensor) -> tuple[Tensor, Tensor]:
        at_t = schedule.exact(t)
        return at_t.alpha, at_t.sigma

    (alpha, sigma), (alpha_rate, sigma_rate) = value_and_derivative(scales, (t,), (torch.ones_like(t),))
    dt = (alpha + sigma) ** 2 / (alpha * sigma_rate - sigma * alpha_rate)
    dsigma = sigma_rate * dt
    # alpha' dt, in a form that is not infinity times 0 at alpha = 0
    return dt, Scales((alpha * dsigma - (alpha + sigma) ** 2) / sigma, dsigma)
