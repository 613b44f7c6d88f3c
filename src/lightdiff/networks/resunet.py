"""ResUNet, a UNet of residual blocks that time and condition scale and shift.

Similar networks are DDPM++ (Song et al. 2021, arXiv:2011.13456, appendix H) and ADM (Dhariwal & Nichol 2021, arXiv:2105.05233,
section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.attention import CrossAttention, attend, zeroed
from lightdiff.networks.checks import (
    check_cond,
    check_divisible,
    check_levels,
    check_positive,
    check_widths,
)
from lightdiff.networks.condition import ImageInput, keys_of
from lightdiff.networks.embedding import Embedding
from lightdiff.networks.layers import group_norm
from lightdiff.utils.sizes import two_sizes


class ResBlock(nn.Module):
    """A residual block whose second normalisation is scaled and shifted by the embedding.

        skip(x) + conv2(dropout(silu(norm2(conv1(silu(norm1(x)))) * (1 + scale) + shift)))

    conv2 starts at 0, so that the block starts as its skip connection.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output. If they differ from in_channels, the skip connection is a 1x1 convolution.
        embed_dim: width of the embedding.
        dropout: share of values set to 0 before the last convolution in training, in [0, 1).
        group_channels: smallest number of channels in a group of GroupNorm.
    """

    def __init__(
        self, in_channels: int, out_channels: int, embed_dim: int, dropout: float, group_channels: int = 16
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, group_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embed_dim, 2 * out_channels)
        self.norm2 = group_norm(out_channels, group_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return the output (B, out_channels, H, W) for x (B, in_channels, H, W) and the embedding (B, embed_dim)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.embed(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.skip(x) + self.conv2(self.dropout(h))


class AttentionBlock(nn.Module):
    """Self-attention between all pixels, then cross-attention to a caption's tokens if there are any, each added to its input.

    Both end in a layer that starts at 0, so that the block starts as the identity.

    Args:
        channels: channels of input and output.
        num_heads: number of heads of each attention, a divisor of channels.
        token_dim: width of the caption's tokens. None: there is no cross-attention.
        group_channels: smallest number of channels in a group of GroupNorm.

    Raises:
        ValueError: num_heads does not divide channels.
    """

    def __init__(self, channels: int, num_heads: int, token_dim: int | None, group_channels: int = 16) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"num_heads={num_heads}: it must divide the width {channels} of a level with attention")
        self.num_heads = num_heads
        self.norm = group_norm(channels, group_channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))
        self.cross = CrossAttention(channels, token_dim, num_heads) if token_dim is not None else None

    def forward(self, x: Tensor, cond: dict[str, Tensor]) -> Tensor:
        """Return the output (B, C, H, W) for x (B, C, H, W) and a condition."""
        height, width = x.shape[-2:]
        pixels = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=-1)
        pixels = pixels + self.out(attend(q, k, v, self.num_heads))
        if self.cross is not None:
            pixels = pixels + self.cross(pixels, cond["tokens"], cond.get("mask"))
        return pixels.transpose(1, 2).unflatten(-1, (height, width))


class Stage(nn.Module):
    """A residual block, followed by attention if its level has it."""

    def __init__(self, block: ResBlock, attention: AttentionBlock | None) -> None:
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, x: Tensor, embedding: Tensor, cond: dict[str, Tensor]) -> Tensor:
        """Return the output (B, out_channels, H, W) for x (B, in_channels, H, W), embedding (B, embed_dim) and a condition."""
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, cond)


class ResUNet(nn.Module):
    """A UNet of residual blocks with attention at chosen levels. Time and condition scale and shift every block.

    The last layer starts at 0, so the untrained network returns 0.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width), divisible by patch_size * 2^(len(widths) - 1).
        widths: channels of each level, from the highest resolution down.
        blocks_per_level: residual blocks of each level on the way down. The way up has one more.
        attention_levels: levels with attention, where 0 is the highest resolution. The middle always has attention.
        num_heads: number of heads of each attention.
        patch_size: side of the patches of pixels that are turned into channels first, which divides the resolution of all levels.
        dropout: share of values set to 0 in each block in training, in [0, 1).
        group_channels: smallest number of channels in a group of GroupNorm, which has at most 32 groups.
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

    def __init__(
        self,
        channels: int = 3,
        image_size: int | Sequence[int] = 32,
        widths: Sequence[int] = (128, 256, 256),
        blocks_per_level: int = 2,
        attention_levels: Sequence[int] = (1, 2),
        num_heads: int = 4,
        patch_size: int = 1,
        dropout: float = 0.0,
        cond_dim: int | None = None,
        token_dim: int | None = None,
        group_channels: int = 16,
        takes_s: bool = False,
        image_channels: int | None = None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, blocks_per_level=blocks_per_level, num_heads=num_heads, patch_size=patch_size)
        check_positive(cond_dim=cond_dim, token_dim=token_dim, group_channels=group_channels)
        check_positive(image_channels=image_channels)
        check_widths(widths)
        check_levels(attention_levels, len(widths))
        check_divisible(image_size, patch_size * 2 ** (len(widths) - 1))
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: a number in [0, 1) is expected")
        self.channels, self.image_size, self.blocks_per_level = channels, image_size, blocks_per_level
        self.num_heads, self.patch_size, self.dropout = num_heads, patch_size, dropout
        self.cond_dim, self.token_dim, self.group_channels = cond_dim, token_dim, group_channels
        self.takes_s, self.image_channels = takes_s, image_channels
        self.widths, self.attention_levels = tuple(widths), tuple(attention_levels)
        self.image_shape = (channels, *two_sizes(image_size))
        self.cond_keys = keys_of(cond_dim, token_dim, image_channels)
        embed_dim = 4 * widths[0]

        def res_block(in_channels: int, width: int) -> ResBlock:
            return ResBlock(in_channels, width, embed_dim, dropout, group_channels)

        def attention(width: int) -> AttentionBlock:
            return AttentionBlock(width, num_heads, token_dim, group_channels)

        def stage(in_channels: int, level: int) -> Stage:
            width = widths[level]
            return Stage(res_block(in_channels, width), attention(width) if level in attention_levels else None)

        self.embedding = Embedding(widths[0], embed_dim, cond_dim, takes_s=takes_s)
        self.inc = nn.Conv2d(channels * patch_size**2, widths[0], 3, padding=1)
        skips, width = [widths[0]], widths[0]
        self.down_stages, self.downs = nn.ModuleList(), nn.ModuleList()
        for level in range(len(widths)):
            stages = nn.ModuleList()
            for _ in range(blocks_per_level):
                stages.append(stage(width, level))
                width = widths[level]
                skips.append(width)
            self.down_stages.append(stages)
            if level < len(widths) - 1:
                self.downs.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.middle1 = Stage(res_block(width, width), attention(width))
        self.middle2 = res_block(width, width)
        self.up_stages, self.ups = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths))):
            stages = nn.ModuleList()
            for _ in range(blocks_per_level + 1):
                stages.append(stage(width + skips.pop(), level))
                width = widths[level]
            self.up_stages.append(stages)
            if level > 0:
                self.ups.append(nn.Conv2d(width, width, 3, padding=1))
        self.norm = group_norm(width, group_channels)
        self.outc = zeroed(nn.Conv2d(width, channels * patch_size**2, 3, padding=1))
        self.image_in: ImageInput | None = None
        if image_channels is not None:
            self.image_in = ImageInput(image_channels * patch_size**2, widths[0], 3, padding=1)

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
        x = self.inc(F.pixel_unshuffle(x, self.patch_size))
        if self.image_in is not None:
            x = x + self.image_in(F.pixel_unshuffle(cond["image"], self.patch_size))
        skips = [x]
        for level, stages in enumerate(self.down_stages):
            for stage in cast(nn.ModuleList, stages):
                x = stage(x, embedding, cond)
                skips.append(x)
            if level < len(self.downs):
                x = self.downs[level](x)
                skips.append(x)
        x = self.middle2(self.middle1(x, embedding, cond), embedding)
        for i, stages in enumerate(self.up_stages):
            for stage in cast(nn.ModuleList, stages):
                x = stage(torch.cat([x, skips.pop()], dim=1), embedding, cond)
            if i < len(self.ups):
                x = self.ups[i](F.interpolate(x, scale_factor=2))
        return F.pixel_shuffle(self.outc(F.silu(self.norm(x))), self.patch_size)
