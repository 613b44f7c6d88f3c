"""Jumps: the step of DDIM (eta = 0) from a time t to an earlier time s, and the two jumps that make one.

All formulas use the flow time tau = sigma / (alpha + sigma) of each time (`Scales.flow_time`). On y = x / (alpha + sigma) every
schedule is the straight line y = (1 - tau) x0 + tau noise, and the jump is one step of Euler's method:

    y_s = (tau_s / tau_t) y_t + (1 - tau_s / tau_t) x0_hat
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightdiff.core.scales import Scales
from lightdiff.core.shapes import per_image


def jump(x_t: Tensor, x0_hat: Tensor, at_t: Scales, at_s: Scales) -> Tensor:
    """Return x_s (B, ...) = alpha_s x0_hat + sigma_s noise_hat, with noise_hat = (x_t - alpha_t x0_hat) / sigma_t.

    Args:
        x_t: noisy images (B, ...).
        x0_hat: estimates (B, ...) of the images, those of the jump from t to s.
        at_t, at_s: scales at t and s: numbers for each image (B,), or single ones (). From the image (sigma_t = 0) the only
            jump is the one to itself, which returns x_t.
    """
    nowhere = (at_t.sigma == 0) & (at_s.sigma == 0)
    ratio = torch.where(nowhere, 1.0, at_s.sigma / at_t.sigma)
    return per_image(ratio, x_t) * x_t + per_image(at_s.alpha - ratio * at_t.alpha, x_t) * x0_hat


def first_share(tau_t: Tensor, tau_u: Tensor, tau_s: Tensor) -> Tensor:
    """Return the share (B,) that the first of two jumps has in the x0_hat of the whole jump, a number in [0, 1].

        x0_hat(t -> s) = share x0_hat(t -> u) + (1 - share) x0_hat(u -> s),    share = s (t - u) / (u (t - s))

    t, u, s stand for the flow times. Where the second jump leads nowhere (u = s) the share is 1. Where it ends at the image
    (s = 0 < u) the share is 0, because the second jump alone says where to land.

    Args:
        tau_t, tau_u, tau_s: flow times (B,) with tau_s <= tau_u <= tau_t.
    """
    share = tau_s * (tau_t - tau_u) / (tau_u * (tau_t - tau_s))
    no_second = (tau_u == tau_s) | (tau_t == tau_s)
    return torch.where(no_second, 1.0, torch.where(tau_s == 0, 0.0, share))


def joined(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Return the x0_hat (B, ...) of a jump, from those of its two parts (B, ...) and the share (B,) of the first."""
    share = per_image(share, first)
    return share * first + (1 - share) * second
