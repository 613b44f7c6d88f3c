"""Functions that return the betas of a `DiscreteSchedule`: a float64 tensor (T,), with alphas_cumprod = cumprod(1 - betas).

The usual values of beta_start and beta_end of the linear, scaled_linear and sigmoid betas are meant for T = 1000. With fewer
timesteps the same betas leave more of the image at t = 1. `rescale=True` multiplies them by 1000 / T, which keeps the amount of
noise at t = 1 about the same for any T.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def linear_betas(T: int, beta_start: float = 1e-4, beta_end: float = 0.02, rescale: bool = False) -> Tensor:
    """Return betas (T,) that rise linearly with the timestep (Ho et al. 2020, arXiv:2006.11239, section 4).

    Args:
        T: number of timesteps, at least 1.
        beta_start: beta of the first timestep, in (0, 1).
        beta_end: beta of the last timestep, in [beta_start, 1).
        rescale: multiply all betas by 1000 / T.

    Raises:
        ValueError: an argument is out of range, or a rescaled beta would reach 1.
    """
    _check(T, beta_start, beta_end)
    return _rescaled(torch.linspace(beta_start, beta_end, T, dtype=torch.float64), T, beta_end, rescale)


def scaled_linear_betas(T: int, beta_start: float = 1e-4, beta_end: float = 0.02, rescale: bool = False) -> Tensor:
    """Return betas (T,) whose square root rises linearly with the timestep (Rombach et al. 2022, arXiv:2112.10752).

    Arguments and errors are those of `linear_betas`.
    """
    _check(T, beta_start, beta_end)
    roots = torch.linspace(math.sqrt(beta_start), math.sqrt(beta_end), T, dtype=torch.float64)
    return _rescaled(roots**2, T, beta_end, rescale)


def sigmoid_betas(T: int, beta_start: float = 1e-4, beta_end: float = 0.02, rescale: bool = False) -> Tensor:
    """Return betas (T,) that rise like the sigmoid function over [-6, 6] (Xu et al. 2022, arXiv:2203.02923).

    Arguments and errors are those of `linear_betas`.
    """
    _check(T, beta_start, beta_end)
    rise = torch.linspace(-6, 6, T, dtype=torch.float64).sigmoid()
    return _rescaled(beta_start + (beta_end - beta_start) * rise, T, beta_end, rescale)


def cosine_betas(T: int, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """Return betas (T,) whose alphas_cumprod falls like cos^2 (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17).

        alphas_cumprod(t) = f(t) / f(0),    f(t) = cos((t + offset) / (1 + offset) * pi / 2)^2

    Args:
        T: number of timesteps, at least 1. The curve alphas_cumprod(t) does not depend on it.
        offset: number above 0 that keeps the first betas from being tiny (s in the paper).
        max_beta: upper limit of the betas, in (0, 1). It acts on the last ones.

    Raises:
        ValueError: an argument is out of range.
    """
    if T < 1:
        raise ValueError(f"T={T}: 1 or more is expected")
    if not offset > 0:
        raise ValueError(f"offset={offset}: a number above 0 is expected")
    if not 0 < max_beta < 1:
        raise ValueError(f"max_beta={max_beta}: a number in (0, 1) is expected")
    time = torch.arange(T + 1, dtype=torch.float64) / T
    curve = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - curve[1:] / curve[:-1]).clamp(max=max_beta)


def _check(T: int, beta_start: float, beta_end: float) -> None:
    if T < 1:
        raise ValueError(f"T={T}: 1 or more is expected")
    if not 0 < beta_start < 1:
        raise ValueError(f"beta_start={beta_start}: a number in (0, 1) is expected")
    if not beta_start <= beta_end < 1:
        raise ValueError(f"beta_end={beta_end}: a number in [beta_start, 1) = [{beta_start}, 1) is expected")


def _rescaled(betas: Tensor, T: int, beta_end: float, rescale: bool) -> Tensor:
    if not rescale:
        return betas
    if betas.max() * 1000 / T >= 1:
        least = math.floor(1000 * beta_end) + 1
        raise ValueError(
            f"T={T}: a beta multiplied by 1000 / T would reach 1; with rescale=true T >= {least} is expected"
        )
    return betas * (1000 / T)
