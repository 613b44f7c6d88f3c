"""Encodings of the time, and its embedding together with the condition."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.attention import zeroed


def sinusoidal_encoding(time: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Return the sinusoidal encoding of the time (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

    The first half of the channels is sin(w_k time), the second cos(w_k time), with w_k = max_period^(-k / n), k = 0, ..., n - 1
    and n = width // 2.

    Args:
        time: (B,), in timesteps (0 to about 1000).
        width: number of channels. If it is odd, the last channel is 0.
        max_period: sets the lowest frequency, which is close to 1 / max_period.

    Returns:
        (B, width) in float32 or float64. In half precision two large neighbouring timesteps would be equal.
    """
    half = width // 2
    dtype = torch.promote_types(time.dtype, torch.float32)
    exponents = torch.arange(half, device=time.device, dtype=dtype) / half
    angles = time.to(dtype)[:, None] * torch.exp(-math.log(max_period) * exponents)
    encoding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(encoding, (0, width - 2 * half))


class JumpEmbedding(nn.Module):
    """The embedding of a jump from the time t to the time s, which is exactly 0 at s = t and starts at 0 everywhere.

        W (silu(A encoding(s) + b) - silu(A encoding(t) + b)),    W = 0 before training

    Therefore a network that adds it starts as the network without it, and at s = t always equals the network without it.

    Args:
        encoding_dim: width of the sinusoidal encoding of each time.
        embed_dim: width of the embedding.
    """

    starts_without_effect = True
    """Whether weights from a model without this module can be loaded into one that has it (see `load_weights_into`)."""

    def __init__(self, encoding_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.encoding_dim = encoding_dim
        self.hidden = nn.Linear(encoding_dim, embed_dim)
        self.out = zeroed(nn.Linear(embed_dim, embed_dim, bias=False))

    def forward(self, time: Tensor, s: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the embedding (B, embed_dim) for the times t (B,) and s (B,) in timesteps, computed in `dtype`."""
        end, start = (F.silu(self.hidden(sinusoidal_encoding(each, self.encoding_dim).to(dtype))) for each in (s, time))
        return self.out(end - start)


class Embedding(nn.Module):
    """The embedding of time and condition: a two-layer perceptron of the time's encoding, plus a projection of the vector.

    Args:
        encoding_dim: width of the sinusoidal encoding of the time.
        embed_dim: width of the embedding.
        cond_dim: width of `cond["vector"]`. None: there is no vector.
        takes_s: whether a second time s is embedded too, by a `JumpEmbedding`.
    """

    def __init__(
        self, encoding_dim: int, embed_dim: int, cond_dim: int | None = None, *, takes_s: bool = False
    ) -> None:
        super().__init__()
        self.encoding_dim = encoding_dim
        self.embed_dim = embed_dim
        self.time = nn.Sequential(nn.Linear(encoding_dim, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        self.condition = nn.Linear(cond_dim, embed_dim) if cond_dim is not None else None
        self.jump = JumpEmbedding(encoding_dim, embed_dim) if takes_s else None

    def forward(self, x: Tensor, time: Tensor | None, vector: Tensor | None, s: Tensor | None = None) -> Tensor:
        """Return the embedding (B, embed_dim), which is 0 if time and vector are both None.

        Args:
            x: images (B, ...), of which only the batch size, the dtype and the device are used.
            time: timesteps (B,), or None.
            vector: vector of the condition (B, cond_dim), or None.
            s: second time (B,), in timesteps, or None for that of `time`. Without takes_s it has no effect.
        """
        embedding = x.new_zeros(len(x), self.embed_dim)
        if time is not None:
            embedding = embedding + self.time(sinusoidal_encoding(time, self.encoding_dim).to(x.dtype))
            if self.jump is not None:
                embedding = embedding + self.jump(time, time if s is None else s, x.dtype)
        if self.condition is not None and vector is not None:
            embedding = embedding + self.condition(vector)
        return embedding
