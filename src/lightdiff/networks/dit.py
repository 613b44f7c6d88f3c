"""DiT, a transformer over image patches with adaptive layer norm (Peebles & Xie 2022, arXiv:2212.09748)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.attention import CrossAttention, attend, zeroed
from lightdiff.networks.checks import check_cond, check_divisible, check_positive
from lightdiff.networks.condition import ImageInput, keys_of
from lightdiff.networks.embedding import Embedding, sinusoidal_encoding
from lightdiff.utils.sizes import two_sizes


class DiTBlock(nn.Module):
    """A transformer block: self-attention, cross-attention to a caption's tokens if there are any, and a two-layer perceptron.

    The embedding of time and condition gives the shift, the scale and the gate of the self-attention and of the perceptron. They
    come from a layer that starts at 0, so that the block starts as the identity (adaLN-Zero).

    Args:
        width: width of the patches' vectors.
        num_heads: number of heads of each attention, a divisor of width.
        token_dim: width of the caption's tokens. None: there is no cross-attention.
    """

    def __init__(self, width: int, num_heads: int, token_dim: int | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.cross = CrossAttention(width, token_dim, num_heads) if token_dim is not None else None
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, embedding: Tensor, cond: dict[str, Tensor]) -> Tensor:
        """Return the output (B, N, width) for N patches x (B, N, width), the embedding (B, width) and a condition."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(embedding))[:, None].chunk(6, dim=-1)
        q, k, v = self.qkv(self.norm1(x) * (1 + scale1) + shift1).chunk(3, dim=-1)
        x = x + gate1 * self.out(attend(q, k, v, self.num_heads))
        if self.cross is not None:
            x = x + self.cross(x, cond["tokens"], cond.get("mask"))
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """The diffusion transformer: patches with a fixed sine-cosine encoding of their position, then `depth` blocks.

    The last layer starts at 0, so the untrained network returns 0.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width), divisible by patch_size.
        patch_size: side of a patch.
        width: width of the patches' vectors, divisible by 4 and by num_heads.
        depth: number of blocks.
        num_heads: number of heads of each attention.
        cond_dim: width of `cond["vector"]` (B, cond_dim). None: the network takes no vector.
        token_dim: width of `cond["tokens"]` (B, L, token_dim), which come with `cond["mask"]` (B, L). None: the network takes no
            tokens.
        takes_s: whether the network takes a second time s, where a jump from `time` ends, as few-step models do. Its embedding
            starts at 0, so the network starts as the one without it, and equals that one whenever s is `time`.
        image_channels: channels of `cond["image"]` (B, image_channels, H, W), which is joined to the noisy image. The weights for
            it start at 0. None: the network takes no image.

    Raises:
        ValueError: an argument is out of range. For image_size the message names the nearest sizes that fit.
    """

    positions: Tensor

    def __init__(
        self,
        channels: int = 3,
        image_size: int | Sequence[int] = 32,
        patch_size: int = 2,
        width: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        cond_dim: int | None = None,
        token_dim: int | None = None,
        takes_s: bool = False,
        image_channels: int | None = None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, patch_size=patch_size, width=width, depth=depth, num_heads=num_heads)
        check_positive(cond_dim=cond_dim, token_dim=token_dim, image_channels=image_channels)
        check_divisible(image_size, patch_size)
        if width % 4:
            raise ValueError(f"width={width}: a multiple of 4 is expected")
        if width % num_heads:
            raise ValueError(f"num_heads={num_heads}: it must divide width={width}")
        self.channels, self.image_size, self.patch_size = channels, image_size, patch_size
        self.width, self.depth, self.num_heads = width, depth, num_heads
        self.cond_dim, self.token_dim, self.takes_s = cond_dim, token_dim, takes_s
        self.image_channels = image_channels
        self.image_shape = (channels, *two_sizes(image_size))
        self.cond_keys = keys_of(cond_dim, token_dim, image_channels)
        num_rows, num_columns = (size // patch_size for size in two_sizes(image_size))
        rows, columns = (
            sinusoidal_encoding(torch.arange(n, dtype=torch.float32), width // 2) for n in (num_rows, num_columns)
        )
        grid = torch.cat([rows[:, None].expand(-1, num_columns, -1), columns[None].expand(num_rows, -1, -1)], dim=-1)
        self.register_buffer("positions", grid.flatten(0, 1), persistent=False)  # (N, width)

        self.embedding = Embedding(256, width, cond_dim, takes_s=takes_s)
        self.inc = nn.Conv2d(channels, width, patch_size, stride=patch_size)
        self.blocks = nn.ModuleList([DiTBlock(width, num_heads, token_dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.outc = zeroed(nn.Linear(width, channels * patch_size**2))
        self.image_in: ImageInput | None = None
        if image_channels is not None:
            self.image_in = ImageInput(image_channels, width, patch_size, stride=patch_size)

    def forward(
        self,
        x: Tensor,
        time: Tensor | None = None,
        cond: dict[str, Tensor] | None = None,
        s: Tensor | None = None,
    ) -> Tensor:
        """Return the output (B, C, H, W).

        Args:
            x: images (B, C, H, W).
            time: timesteps (B,), or None.
            cond: dict with the network's `cond_keys`, or None where it takes no condition.
            s: with takes_s, the time (B,) where the jump ends, in timesteps; None takes `time`. Without takes_s it has no effect.
        """
        check_cond(self, cond, x)
        cond = cond or {}
        embedding = self.embedding(x, time, cond.get("vector"), s)
        patches = self.inc(x)
        if self.image_in is not None:
            patches = patches + self.image_in(cond["image"])
        height, width = patches.shape[-2:]
        x = patches.flatten(2).transpose(1, 2) + self.positions.to(patches.dtype)
        for block in self.blocks:
            x = block(x, embedding, cond)
        shift, scale = self.modulation(F.silu(embedding))[:, None].chunk(2, dim=-1)
        x = self.outc(self.norm(x) * (1 + scale) + shift).transpose(1, 2).unflatten(-1, (height, width))
        return F.pixel_shuffle(x, self.patch_size)
