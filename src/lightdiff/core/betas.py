"""Tables of betas for `DiscreteSchedule`: float64 (T,), alphas_cumprod = cumprod(1 - betas).

linear, scaled_linear and sigmoid are known by their values at T = 1000; with fewer steps the same betas leave more of the image
at the end. `rescale` multiplies them by 1000 / T, which keeps the noise at the end about the same for any T.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def linear_betas(T: int, beta_start: float = 1e-4, beta_end: float = 0.02, rescale: bool = False) -> Tensor:
    """Betas linear in the timestep (Ho et al. 2020, arXiv:2006.11239, section 4).

    Raises:
        ValueError: T below 1, not 0 < beta_start <= beta_end < 1, or a rescaled beta of 1 or more.
    """
    _check(T, beta_start, beta_end)
    return _rescaled(torch.linspace(beta_start, beta_end, T, dtype=torch.float64), T, beta_end, rescale)


def scaled_linear_betas(T: int, beta_start: float = 1e-4, beta_end: float = 0.02, rescale: bool = False) -> Tensor:
    """Betas whose square root is linear in the timestep (Rombach et al. 2022, arXiv:2112.10752). Raises as `linear_betas`."""
    _check(T, beta_start, beta_end)
    roots = torch.linspace(math.sqrt(beta_start), math.sqrt(beta_end), T, dtype=torch.float64)
    return _rescaled(roots**2, T, beta_end, rescale)


def sigmoid_betas(T: int, beta_start: float = 1e-4, beta_end: float = 0.02, rescale: bool = False) -> Tensor:
    """Betas that rise along a sigmoid over [-6, 6] (Xu et al. 2022, arXiv:2203.02923). Raises as `linear_betas`."""
    _check(T, beta_start, beta_end)
    rise = torch.linspace(-6, 6, T, dtype=torch.float64).sigmoid()
    return _rescaled(beta_start + (beta_end - beta_start) * rise, T, beta_end, rescale)


def cosine_betas(T: int, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """alphas_cumprod along cos^2 of the time, each beta capped (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17).

    Args:
        T: number of timesteps; the shape of the curve does not depend on it.
        offset: keeps the first betas above 0 (s in the paper).
        max_beta: cap, which keeps the last betas below 1.

    Raises:
        ValueError: T below 1, offset not above 0, or max_beta not in (0, 1).
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
            f"T={T}: rescaled to so few steps a beta would reach 1; with rescale=true T >= {least} is expected"
        )
    return betas * (1000 / T)
