"""Multi-head attention between tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW_TOKENS = 256
"""So many tokens, and bfloat16's attention pays in training on a CPU too."""


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for each head (Vaswani et al. 2017, eq. 1).

    Args:
        q: (B, N, C).
        k: (B, L, C).
        v: (B, L, C).
        num_heads: divides C.
        mask: (B, L), 0 where a token of k and v is padding; None: none is.

    Returns:
        (B, N, C).
    """
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    bias = None if mask is None else (mask > 0)[:, None, None, :]
    return _attention(q, k, v, bias).transpose(1, 2).flatten(2)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """torch's fused attention of q (B, heads, N, d) to k and v (B, heads, L, d); in training on a CPU, few tokens in float32."""
    if q.device.type != "cpu" or not q.requires_grad or q.dtype == torch.float64 or q.shape[-2] >= FEW_TOKENS:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # the gradient of the bfloat16 kernel takes up to ten times as long as that of the float32 one
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask).to(q.dtype)


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with weights and bias 0: a residual branch that ends in it begins as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class CrossAttention(nn.Module):
    """What a picture's tokens read off a caption's tokens.

    Args:
        channels: of the picture's tokens.
        token_dim: width of the caption's tokens.
        num_heads: divides channels.
    """

    def __init__(self, channels: int, token_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(token_dim, 2 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, N, channels), tokens (B, L, token_dim), mask (B, L), to what is added to x (B, N, channels)."""
        k, v = self.key_value(tokens).chunk(2, dim=-1)
        return self.out(attend(self.query(self.norm(x)), k, v, self.num_heads, mask))
