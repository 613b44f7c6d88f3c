"""What a network is told of the time."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal_encoding(time: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Sines, then cosines, of `time` at width / 2 frequencies from 1 down to 1 / max_period (Vaswani et al. 2017).

    Args:
        time: (B,), in timesteps (0 to about 1000).
        width: even number of channels; an odd one gets a zero at the end.
        max_period: longest wavelength over 2 pi.

    Returns:
        (B, width) in at least float32: half precision cannot tell large neighbouring timesteps apart.
    """
    half = width // 2
    dtype = torch.promote_types(time.dtype, torch.float32)
    exponents = torch.arange(half, device=time.device, dtype=dtype) / half
    angles = time.to(dtype)[:, None] * torch.exp(-math.log(max_period) * exponents)
    encoding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(encoding, (0, width - 2 * half))
