"""The network of the cars tutorial: a UNet of convolutions, with BatchNorm and ReLU by default."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lightdiff.networks.checks import check_choice, check_cond, check_divisible, check_positive, check_widths
from lightdiff.networks.condition import ImageInput, keys_of
from lightdiff.networks.embedding import sinusoidal_encoding
from lightdiff.networks.layers import ACTIVATIONS, NORMS, ActivationName, NormName
from lightdiff.utils.sizes import two_sizes


class SimpleBlock(nn.Module):
    """Two times convolution, activation and normalisation, with the embedding added in between, then a change of resolution.

    Args:
        in_channels: channels of the input, together with the skip if there is one.
        out_channels: channels of the output.
        embed_dim: width of the embedding of time and condition.
        up: whether a transposed 4x4 convolution doubles the resolution. Otherwise a strided 4x4 convolution halves it.
        norm: name of the normalisation, a key of `NORMS`.
        activation: name of the activation, a key of `ACTIVATIONS`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embed_dim: int,
        up: bool,
        norm: NormName = "batch",
        activation: ActivationName = "relu",
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm1 = NORMS[norm](out_channels)
        self.embed = nn.Linear(embed_dim, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = NORMS[norm](out_channels)
        resize = nn.ConvTranspose2d if up else nn.Conv2d
        self.resize = resize(out_channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """Return the output (B, out_channels, 2 H, 2 W), or with H / 2 and W / 2 on the way down.

        Args:
            x: input (B, in_channels, H, W).
            embedding: embedding of time and condition (B, embed_dim), or None.
        """
        x = self.norm1(self.activation(self.conv1(x)))
        if embedding is not None:
            x = x + self.activation(self.embed(embedding))[:, :, None, None]
        return self.resize(self.norm2(self.activation(self.conv2(x))))


class SimpleUNet(nn.Module):
    """A UNet of `SimpleBlock`s. Each block on the way up also gets the output of the block with its resolution on the way down.

    With the defaults it is the cars tutorial's network with 62,438,883 parameters. `norm` and `activation` are among the
    improvements that the tutorial leaves to its readers. In training mode BatchNorm mixes the images of a batch, so the network
    samples in eval mode only.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width), divisible by 2^(len(widths) - 1).
        widths: channels after the first convolution and after each block on the way down, at least two.
        embed_dim: width of the embedding of time and condition.
        cond_dim: width of `cond["vector"]` (B, cond_dim). None: the network takes no vector.
        norm: normalisation after each activation: "batch" (BatchNorm), "group" (GroupNorm of at most 32 groups of at least 16
            channels each) or "none".
        activation: "relu", "silu" or "gelu".
        image_channels: channels of `cond["image"]` (B, image_channels, H, W), which is joined to the noisy image. The weights for
            it start at 0. None: the network takes no image.

    Raises:
        ValueError: an argument is out of range, or a name unknown. For image_size the message names the nearest sizes that fit.
    """

    def __init__(
        self,
        channels: int = 3,
        image_size: int | Sequence[int] = 64,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        embed_dim: int = 32,
        cond_dim: int | None = None,
        norm: NormName = "batch",
        activation: ActivationName = "relu",
        image_channels: int | None = None,
    ) -> None:
        super().__init__()
        check_choice(NORMS, norm=norm)
        check_choice(ACTIVATIONS, activation=activation)
        check_positive(channels=channels, embed_dim=embed_dim, cond_dim=cond_dim, image_channels=image_channels)
        check_widths(widths, at_least=2)
        check_divisible(image_size, 2 ** (len(widths) - 1))
        self.channels, self.image_size, self.embed_dim, self.cond_dim = channels, image_size, embed_dim, cond_dim
        self.widths, self.norm, self.activation = tuple(widths), norm, activation
        self.image_channels = image_channels
        self.image_shape = (channels, *two_sizes(image_size))
        self.cond_keys = keys_of(cond_dim, image_channels=image_channels)

        self.time = nn.Sequential(nn.Linear(embed_dim, embed_dim), ACTIVATIONS[activation]())
        self.condition = nn.Linear(cond_dim, embed_dim) if cond_dim is not None else None
        self.inc = nn.Conv2d(channels, widths[0], 3, padding=1)
        pairs = list(itertools.pairwise(widths))
        block = partial(SimpleBlock, embed_dim=embed_dim, norm=norm, activation=activation)
        self.downs = nn.ModuleList([block(high, low, up=False) for high, low in pairs])
        self.ups = nn.ModuleList([block(2 * low, high, up=True) for high, low in reversed(pairs)])
        self.outc = nn.Conv2d(widths[0], channels, 1)
        self.image_in: ImageInput | None = None
        if image_channels is not None:
            self.image_in = ImageInput(image_channels, widths[0], 3, padding=1)

    def forward(self, x: Tensor, time: Tensor | None = None, cond: dict[str, Tensor] | None = None) -> Tensor:
        """Return the output (B, C, H, W).

        Args:
            x: images (B, C, H, W).
            time: timesteps (B,), or None.
            cond: dict with the network's `cond_keys`, or None where it takes no condition.
        """
        check_cond(self, cond, x)
        cond = cond or {}
        embedding = None
        if time is not None:
            embedding = self.time(sinusoidal_encoding(time, self.embed_dim).to(x.dtype))
        if self.condition is not None:
            condition = self.condition(cond["vector"])
            embedding = condition if embedding is None else embedding + condition
        x = self.inc(x)
        if self.image_in is not None:
            x = x + self.image_in(cond["image"])
        skips = []
        for down in self.downs:
            x = down(x, embedding)
            skips.append(x)
        for up in self.ups:
            x = up(torch.cat([x, skips.pop()], dim=1), embedding)
        return self.outc(x)
