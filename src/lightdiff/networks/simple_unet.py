"""SimpleUNet: convolutions with BatchNorm and ReLU, strided down and transposed up, as in the cars tutorial."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.checks import check_cond, check_divisible, check_positive, check_widths, two_sizes
from lightdiff.networks.embedding import sinusoidal_encoding


class SimpleBlock(nn.Module):
    """conv, ReLU, BatchNorm; plus the embedding; conv, ReLU, BatchNorm; then a change of resolution.

    Args:
        in_channels: of the input (with the skip, where there is one).
        out_channels: of the output.
        embed_dim: width of the embedding of time and condition.
        up: double the resolution (transposed 4x4 convolution); else halve it (strided 4x4 convolution).
    """

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int, up: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.embed = nn.Linear(embed_dim, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(out_channels)
        resize = nn.ConvTranspose2d if up else nn.Conv2d
        self.resize = resize(out_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """(B, in, H, W) and (B, embed_dim) to (B, out, H * 2 or / 2, W * 2 or / 2)."""
        x = self.norm1(F.relu(self.conv1(x)))
        if embedding is not None:
            x = x + F.relu(self.embed(embedding))[:, :, None, None]
        return self.resize(self.norm2(F.relu(self.conv2(x))))


class SimpleUNet(nn.Module):
    """Strided blocks down and transposed blocks up, each of the latter with the skip of its resolution beside it.

    The defaults are the tutorial's network with 62,438,883 parameters. It is in BatchNorm's hands: sample in eval mode.

    Args:
        channels: of the images.
        image_size: side, or (height, width); halved len(widths) - 1 times.
        widths: channels after the first convolution and after each block down.
        embed_dim: width of the embedding of time (and condition).
        cond_dim: width of `cond["vector"]` (B, cond_dim); None: unconditional.

    Raises:
        ValueError: a size the network cannot take, with the nearest ones it can; impossible widths.
    """

    def __init__(
        self,
        channels: int = 3,
        image_size: int | Sequence[int] = 64,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        embed_dim: int = 32,
        cond_dim: int | None = None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, embed_dim=embed_dim, cond_dim=cond_dim)
        check_widths(widths, at_least=2)
        check_divisible(image_size, 2 ** (len(widths) - 1))
        self.channels, self.image_size, self.embed_dim, self.cond_dim = channels, image_size, embed_dim, cond_dim
        self.widths = tuple(widths)
        self.image_shape = (channels, *two_sizes(image_size))
        self.cond_keys = ("vector",) if cond_dim is not None else ()

        self.time = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.ReLU())
        self.condition = nn.Linear(cond_dim, embed_dim) if cond_dim is not None else None
        self.inc = nn.Conv2d(channels, widths[0], 3, padding=1)
        pairs = list(itertools.pairwise(widths))
        self.downs = nn.ModuleList([SimpleBlock(high, low, embed_dim, up=False) for high, low in pairs])
        self.ups = nn.ModuleList([SimpleBlock(2 * low, high, embed_dim, up=True) for high, low in reversed(pairs)])
        self.outc = nn.Conv2d(widths[0], channels, 1)

    def forward(self, x: Tensor, time: Tensor | None = None, cond: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, C, H, W), time (B,) or None, cond {"vector": (B, cond_dim)} or None, to (B, C, H, W)."""
        check_cond(self, cond)
        embedding = None
        if time is not None:
            embedding = self.time(sinusoidal_encoding(time, self.embed_dim).to(x.dtype))
        if self.condition is not None and cond is not None:
            condition = self.condition(cond["vector"])
            embedding = condition if embedding is None else embedding + condition
        x = self.inc(x)
        skips = []
        for down in self.downs:
            x = down(x, embedding)
            skips.append(x)
        for up in self.ups:
            x = up(torch.cat([x, skips.pop()], dim=1), embedding)
        return self.outc(x)
