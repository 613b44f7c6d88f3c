"""Multi-head attention between tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW_TOKENS = 256
"""Number of tokens below which attention is computed in float32 when training on a CPU, because it is faster there."""


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int, mask: Tensor | None = None) -> Tensor:
    """Return multi-head attention, softmax(q k^T / sqrt(d)) v for each head (Vaswani et al. 2017, arXiv:1706.03762, eq. 1).

    Args:
        q: queries (B, N, C).
        k: keys (B, L, C).
        v: values (B, L, C).
        num_heads: number of heads, a divisor of C.
        mask: (B, L), 0 where a token of k and v is padding, which is ignored. None: no token is.

    Returns:
        (B, N, C).
    """
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    bias = None if mask is None else (mask > 0)[:, None, None, :]
    return _attention(q, k, v, bias).transpose(1, 2).flatten(2)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return torch's fused attention of q (B, heads, N, d) to k and v (B, heads, L, d)."""
    if q.device.type != "cpu" or not q.requires_grad or q.dtype == torch.float64 or q.shape[-2] >= FEW_TOKENS:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # on a CPU the gradient takes up to ten times as long in bfloat16 as in float32
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask).to(q.dtype)


def zeroed(layer: nn.Module) -> nn.Module:
    """Set the parameters of a layer to 0 and return it. A residual branch that ends in such a layer starts by adding nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class CrossAttention(nn.Module):
    """Attention of the image's tokens to the caption's tokens. Its last layer starts at 0.

    Args:
        channels: width of the image's tokens.
        token_dim: width of the caption's tokens.
        num_heads: number of heads, a divisor of channels.
    """

    def __init__(self, channels: int, token_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(token_dim, 2 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the tensor (B, N, channels) to add to x, for x (B, N, channels), tokens (B, L, token_dim) and mask (B, L)."""
        k, v = self.key_value(tokens).chunk(2, dim=-1)
        return self.out(attend(self.query(self.norm(x)), k, v, self.num_heads, mask))
