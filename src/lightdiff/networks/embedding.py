"""What a network is told of the time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoidal_encoding(time: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Sines, then cosines, of `time` at the frequencies max_period^(-k / n), k = 0..n-1, n = width / 2 (Vaswani et al. 2017).

    Args:
        time: (B,), in timesteps (0 to about 1000).
        width: even number of channels; an odd one gets a zero at the end.
        max_period: what the longest wavelength over 2 pi comes near to.

    Returns:
        (B, width) in at least float32: half precision cannot tell large neighbouring timesteps apart.
    """
    half = width // 2
    dtype = torch.promote_types(time.dtype, torch.float32)
    exponents = torch.arange(half, device=time.device, dtype=dtype) / half
    angles = time.to(dtype)[:, None] * torch.exp(-math.log(max_period) * exponents)
    encoding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(encoding, (0, width - 2 * half))


class Embedding(nn.Module):
    """Time and condition as one vector: a two-layer perceptron of the sinusoidal encoding, plus a projection of the condition.

    Args:
        encoding_dim: width of the sinusoidal encoding.
        embed_dim: width of the result.
        cond_dim: width of `cond["vector"]`; None: no condition.
    """

    def __init__(self, encoding_dim: int, embed_dim: int, cond_dim: int | None = None) -> None:
        super().__init__()
        self.encoding_dim = encoding_dim
        self.embed_dim = embed_dim
        self.time = nn.Sequential(nn.Linear(encoding_dim, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        self.condition = nn.Linear(cond_dim, embed_dim) if cond_dim is not None else None

    def forward(self, x: Tensor, time: Tensor | None, vector: Tensor | None) -> Tensor:
        """(B, embed_dim) for a batch x (B, ...), time (B,) or None and vector (B, cond_dim) or None; both None: zeros."""
        embedding = x.new_zeros(len(x), self.embed_dim)
        if time is not None:
            embedding = embedding + self.time(sinusoidal_encoding(time, self.encoding_dim).to(x.dtype))
        if self.condition is not None and vector is not None:
            embedding = embedding + self.condition(vector)
        return embedding
