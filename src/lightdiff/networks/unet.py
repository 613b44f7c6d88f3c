"""The UNet of DDPM tutorials: DoubleConv, Down, Up, SelfAttention.

Shapes: B images, C channels, H x W pixels. Level i works at H / 2^i x W / 2^i.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.attention import attend
from lightdiff.networks.checks import check_cond, check_divisible, check_levels, check_positive, check_widths, two_sizes
from lightdiff.networks.embedding import sinusoidal_encoding


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with GroupNorm over all channels, GELU between; residual: GELU(x + that).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; equal to in_channels where residual.
        mid_channels: channels between the convolutions; None: as the output.
        residual: add the input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, mid_channels: int | None = None, residual: bool = False
    ) -> None:
        super().__init__()
        mid = mid_channels or out_channels
        self.residual = residual
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, mid, 3, padding=1, bias=False),
            nn.GroupNorm(1, mid),
            nn.GELU(),
            nn.Conv2d(mid, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(1, out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        return F.gelu(x + out) if self.residual else out


class _TimedBlock(nn.Module):
    """Adds the time encoding, and the condition where there is one, to the output of a block."""

    def __init__(self, out_channels: int, cond_dim: int | None) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.condition: nn.Linear | None = None
        if cond_dim is not None:
            self.condition = nn.Linear(cond_dim, out_channels)
            nn.init.zeros_(self.condition.weight)  # the condition is learned from no effect on
            nn.init.zeros_(self.condition.bias)

    def add(self, x: Tensor, time: Tensor | None, vector: Tensor | None) -> Tensor:
        if time is not None:
            x = x + sinusoidal_encoding(time, self.out_channels).to(x.dtype)[:, :, None, None]
        if self.condition is not None and vector is not None:
            x = x + self.condition(vector)[:, :, None, None]
        return x


class Down(_TimedBlock):
    """Max-pool by 2, a residual DoubleConv, a DoubleConv to the new width; then the time encoding of that width."""

    def __init__(self, in_channels: int, out_channels: int, cond_dim: int | None = None) -> None:
        super().__init__(out_channels, cond_dim)
        self.layers = nn.Sequential(
            nn.MaxPool2d(2), DoubleConv(in_channels, in_channels, residual=True), DoubleConv(in_channels, out_channels)
        )

    def forward(self, x: Tensor, time: Tensor | None = None, vector: Tensor | None = None) -> Tensor:
        """(B, in, H, W) to (B, out, H/2, W/2)."""
        return self.add(self.layers(x), time, vector)


class Up(_TimedBlock):
    """Bilinear upsampling by 2, the skip beside it, a residual DoubleConv, a DoubleConv to the new width; then the time encoding.

    Args:
        in_channels: channels of the input and the skip together.
        out_channels: channels of the output.
        cond_dim: width of the condition; None: no condition.
    """

    def __init__(self, in_channels: int, out_channels: int, cond_dim: int | None = None) -> None:
        super().__init__(out_channels, cond_dim)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.layers = nn.Sequential(
            DoubleConv(in_channels, in_channels, residual=True),
            DoubleConv(in_channels, out_channels, mid_channels=in_channels // 2),
        )

    def forward(self, x: Tensor, skip: Tensor, time: Tensor | None = None, vector: Tensor | None = None) -> Tensor:
        """(B, C1, H/2, W/2) and the skip (B, C2, H, W), C1 + C2 = in, to (B, out, H, W)."""
        return self.add(self.layers(torch.cat([skip, self.up(x)], dim=1)), time, vector)


class SelfAttention(nn.Module):
    """Attention between all pixels, then a two-layer perceptron, each with LayerNorm before it and the input added after it.

    Args:
        channels: of input and output.
        num_heads: of the attention; divides channels.
    """

    def __init__(self, channels: int, num_heads: int = 4) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"num_heads={num_heads}: it must divide the width {channels} of a level with attention")
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.qkv.weight)  # the initialisation of nn.MultiheadAttention
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        tokens = tokens + self.out(attend(q, k, v, self.num_heads))
        tokens = tokens + self.mlp(tokens)
        return tokens.transpose(1, 2).unflatten(-1, (height, width))


class UNet(nn.Module):
    """Encoder and decoder with skips; a sinusoidal encoding of the time is added after every block.

    The defaults are the tutorial's network with 12,919,041 parameters: modules inc, down1..3, up1..3, outc and, after
    down2, down3 and up1, the attention blocks sa1..3.

    Args:
        channels: of the images.
        image_size: side, or (height, width); divisible by 2 at every level but the first.
        widths: channels of each level of the encoder, from full resolution down.
        attention_levels: levels (0: full resolution) with attention, in the encoder and in the decoder.
        num_heads: heads of each attention.
        cond_dim: width of `cond["vector"]` (B, cond_dim); None: unconditional.

    Raises:
        ValueError: a size the network cannot take, with the nearest ones it can; impossible widths, levels, heads.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int | Sequence[int] = 32,
        widths: Sequence[int] = (64, 128, 256, 256),
        attention_levels: Sequence[int] = (2, 3),
        num_heads: int = 4,
        cond_dim: int | None = None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, num_heads=num_heads, cond_dim=cond_dim)
        check_widths(widths, at_least=2)
        depth = len(widths) - 1
        check_levels(attention_levels, len(widths))
        check_divisible(image_size, 2**depth)
        self.channels, self.image_size, self.num_heads, self.cond_dim = channels, image_size, num_heads, cond_dim
        self.widths, self.attention_levels = tuple(widths), tuple(attention_levels)
        self.image_shape = (channels, *two_sizes(image_size))
        self.cond_keys = ("vector",) if cond_dim is not None else ()

        self.inc = DoubleConv(channels, widths[0])
        widths_of_attention: list[int] = []

        def attention(level: int, width: int) -> str | None:
            """Name of the attention block after a level, None where it has none."""
            if level not in attention_levels:
                return None
            widths_of_attention.append(width)
            return f"sa{len(widths_of_attention)}"

        self._encoder: list[tuple[str, str | None]] = [("inc", attention(0, widths[0]))]
        for level in range(1, depth + 1):
            self.add_module(f"down{level}", Down(widths[level - 1], widths[level], cond_dim))
            self._encoder.append((f"down{level}", attention(level, widths[level])))
        self._decoder: list[tuple[str, str | None]] = []
        below = widths[depth]
        for level in reversed(range(depth)):
            out = widths[max(level - 1, 0)]
            self.add_module(f"up{depth - level}", Up(below + widths[level], out, cond_dim))
            self._decoder.append((f"up{depth - level}", attention(level, out)))
            below = out
        self.outc = nn.Conv2d(below, channels, 1)
        for number, width in enumerate(widths_of_attention, start=1):
            self.add_module(f"sa{number}", SelfAttention(width, num_heads))

    def forward(self, x: Tensor, time: Tensor | None = None, cond: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, C, H, W), time (B,) or None, cond {"vector": (B, cond_dim)} or None, to (B, C, H, W)."""
        check_cond(self, cond)
        vector = None if cond is None else cond["vector"]
        skips: list[Tensor] = []
        for block, attention in self._encoder:
            x = getattr(self, block)(x, time, vector) if skips else self.inc(x)
            x = x if attention is None else getattr(self, attention)(x)
            skips.append(x)
        skips.pop()
        for block, attention in self._decoder:
            x = getattr(self, block)(x, skips.pop(), time, vector)
            x = x if attention is None else getattr(self, attention)(x)
        return self.outc(x)
