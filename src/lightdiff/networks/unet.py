"""The UNet that many DDPM tutorials use, with its blocks DoubleConv, Down, Up and SelfAttention.

Shapes: B images, C channels, H x W pixels. Level i has the resolution H / 2^i x W / 2^i.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.attention import attend
from lightdiff.networks.checks import check_cond, check_divisible, check_levels, check_positive, check_widths
from lightdiff.networks.condition import ImageInput, keys_of
from lightdiff.networks.embedding import JumpEmbedding, sinusoidal_encoding
from lightdiff.utils.sizes import two_sizes


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each followed by a GroupNorm of one group, with GELU in between.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output. With residual=True they equal in_channels.
        mid_channels: channels between the convolutions. None takes out_channels.
        residual: whether the output is GELU(x + layers(x)) instead of layers(x).
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

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Return the output (B, out_channels, H, W).

        Args:
            x: input (B, in_channels, H, W).
            added: what is added to the output of the first convolution (B, mid_channels, H, W), or None.
        """
        out = self.layers(x) if added is None else self.layers[1:](self.layers[0](x) + added)
        return F.gelu(x + out) if self.residual else out


class _TimedBlock(nn.Module):
    """Base class of the blocks that add encodings of the time, the condition and the second time to their output."""

    def __init__(self, out_channels: int, cond_dim: int | None, takes_s: bool) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.condition: nn.Linear | None = None
        if cond_dim is not None:
            self.condition = nn.Linear(cond_dim, out_channels)
            # the condition starts without an effect
            nn.init.zeros_(self.condition.weight)
            nn.init.zeros_(self.condition.bias)
        self.jump = JumpEmbedding(out_channels, out_channels) if takes_s else None

    def add(self, x: Tensor, time: Tensor | None, vector: Tensor | None, s: Tensor | None) -> Tensor:
        """Return x (B, out_channels, H, W) plus the encodings of time (B,), vector (B, cond_dim) and s (B,), where given."""
        if time is not None:
            x = x + sinusoidal_encoding(time, self.out_channels).to(x.dtype)[:, :, None, None]
            if self.jump is not None:
                x = x + self.jump(time, time if s is None else s, x.dtype)[:, :, None, None]
        if self.condition is not None and vector is not None:
            x = x + self.condition(vector)[:, :, None, None]
        return x


class Down(_TimedBlock):
    """A block of the encoder: max-pooling by 2, a residual DoubleConv, and a DoubleConv to out_channels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        cond_dim: width of the condition's vector. None: there is no condition.
        takes_s: whether the block takes a second time s.
    """

    def __init__(self, in_channels: int, out_channels: int, cond_dim: int | None = None, takes_s: bool = False) -> None:
        super().__init__(out_channels, cond_dim, takes_s)
        self.layers = nn.Sequential(
            nn.MaxPool2d(2), DoubleConv(in_channels, in_channels, residual=True), DoubleConv(in_channels, out_channels)
        )

    def forward(
        self, x: Tensor, time: Tensor | None = None, vector: Tensor | None = None, s: Tensor | None = None
    ) -> Tensor:
        """Return the output (B, out_channels, H/2, W/2).

        Args:
            x: input (B, in_channels, H, W).
            time: timesteps (B,), or None.
            vector: vector of the condition (B, cond_dim), or None.
            s: second time (B,), in timesteps, or None for that of `time`. Without takes_s it has no effect.
        """
        return self.add(self.layers(x), time, vector, s)


class Up(_TimedBlock):
    """A block of the decoder: bilinear upsampling by 2, the skip as further channels, and two DoubleConvs, the first residual.

    Args:
        in_channels: channels of the input and the skip together.
        out_channels: channels of the output.
        cond_dim: width of the condition's vector. None: there is no condition.
        takes_s: whether the block takes a second time s.
    """

    def __init__(self, in_channels: int, out_channels: int, cond_dim: int | None = None, takes_s: bool = False) -> None:
        super().__init__(out_channels, cond_dim, takes_s)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.layers = nn.Sequential(
            DoubleConv(in_channels, in_channels, residual=True),
            DoubleConv(in_channels, out_channels, mid_channels=in_channels // 2),
        )

    def forward(
        self,
        x: Tensor,
        skip: Tensor,
        time: Tensor | None = None,
        vector: Tensor | None = None,
        s: Tensor | None = None,
    ) -> Tensor:
        """Return the output (B, out_channels, H, W).

        Args:
            x: input (B, C1, H/2, W/2).
            skip: skip from the encoder (B, C2, H, W), with C1 + C2 = in_channels.
            time: timesteps (B,), or None.
            vector: vector of the condition (B, cond_dim), or None.
            s: second time (B,), in timesteps, or None for that of `time`. Without takes_s it has no effect.
        """
        return self.add(self.layers(torch.cat([skip, self.up(x)], dim=1)), time, vector, s)


class SelfAttention(nn.Module):
    """Self-attention between all pixels, then a two-layer perceptron, each after a LayerNorm and added to its input.

    Args:
        channels: channels of input and output.
        num_heads: number of heads, a divisor of channels.

    Raises:
        ValueError: num_heads does not divide channels.
    """

    def __init__(self, channels: int, num_heads: int = 4) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"num_heads={num_heads}: it must divide the width {channels} of a level with attention")
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        # as nn.MultiheadAttention is initialised
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (B, C, H, W) for x (B, C, H, W)."""
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        tokens = tokens + self.out(attend(q, k, v, self.num_heads))
        tokens = tokens + self.mlp(tokens)
        return tokens.transpose(1, 2).unflatten(-1, (height, width))


class UNet(nn.Module):
    """An encoder and a decoder with skips between them. Every block adds a sinusoidal encoding of the time to its output.

    With the defaults it is the network of the tutorial ddpm_unet with 12,919,041 parameters. Its modules are inc, down1..3,
    up1..3, outc, and the attention blocks sa1..3 after down2, down3 and up1.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width), divisible by 2^(len(widths) - 1).
        widths: channels of each level of the encoder, from full resolution down, at least two.
        attention_levels: levels with attention, in the encoder and in the decoder. 0 is full resolution.
        num_heads: number of heads of each attention.
        cond_dim: width of `cond["vector"]` (B, cond_dim). None: the network takes no vector.
        takes_s: whether the network takes a second time s, where a jump from `time` ends, as few-step models do. Its embedding
            starts at 0, so the network starts as the one without it, and equals that one whenever s is `time`.
        image_channels: channels of `cond["image"]` (B, image_channels, H, W), which is joined to the noisy image. The weights for
            it start at 0. None: the network takes no image.

    Raises:
        ValueError: an argument is out of range. For image_size the message names the nearest sizes that fit.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int | Sequence[int] = 32,
        widths: Sequence[int] = (64, 128, 256, 256),
        attention_levels: Sequence[int] = (2, 3),
        num_heads: int = 4,
        cond_dim: int | None = None,
        takes_s: bool = False,
        image_channels: int | None = None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, num_heads=num_heads, cond_dim=cond_dim, image_channels=image_channels)
        check_widths(widths, at_least=2)
        depth = len(widths) - 1
        check_levels(attention_levels, len(widths))
        check_divisible(image_size, 2**depth)
        self.channels, self.image_size, self.num_heads, self.cond_dim = channels, image_size, num_heads, cond_dim
        self.takes_s, self.image_channels = takes_s, image_channels
        self.widths, self.attention_levels = tuple(widths), tuple(attention_levels)
        self.image_shape = (channels, *two_sizes(image_size))
        self.cond_keys = keys_of(cond_dim, image_channels=image_channels)

        self.inc = DoubleConv(channels, widths[0])
        widths_of_attention: list[int] = []

        def attention(level: int, width: int) -> str | None:
            """Return the name of the attention block after a level, None if the level has no attention."""
            if level not in attention_levels:
                return None
            widths_of_attention.append(width)
            return f"sa{len(widths_of_attention)}"

        self._encoder: list[tuple[str, str | None]] = [("inc", attention(0, widths[0]))]
        for level in range(1, depth + 1):
            self.add_module(f"down{level}", Down(widths[level - 1], widths[level], cond_dim, takes_s))
            self._encoder.append((f"down{level}", attention(level, widths[level])))
        self._decoder: list[tuple[str, str | None]] = []
        below = widths[depth]
        for level in reversed(range(depth)):
            out = widths[max(level - 1, 0)]
            self.add_module(f"up{depth - level}", Up(below + widths[level], out, cond_dim, takes_s))
            self._decoder.append((f"up{depth - level}", attention(level, out)))
            below = out
        self.outc = nn.Conv2d(below, channels, 1)
        for number, width in enumerate(widths_of_attention, start=1):
            self.add_module(f"sa{number}", SelfAttention(width, num_heads))
        self.image_in: ImageInput | None = None
        if image_channels is not None:
            self.image_in = ImageInput(image_channels, widths[0], 3, padding=1)

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
        vector = cond.get("vector")
        added = None if self.image_in is None else self.image_in(cond["image"])
        skips: list[Tensor] = []
        for block, attention in self._encoder:
            x = getattr(self, block)(x, time, vector, s) if skips else self.inc(x, added)
            x = x if attention is None else getattr(self, attention)(x)
            skips.append(x)
        skips.pop()
        for block, attention in self._decoder:
            x = getattr(self, block)(x, skips.pop(), time, vector, s)
            x = x if attention is None else getattr(self, attention)(x)
        return self.outc(x)
