"""The tutorial's training step, written from its description: its network, and its algorithm.

Its algorithm computes the remaining share of the image, the product of 1 - beta up to the timestep, anew for each image of each
batch. Everything is eager and in single precision. Reading and padding images is left out: its batch is there already.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolutions(nn.Module):
    """3x3 convolution, GroupNorm of one group, GELU, 3x3 convolution, GroupNorm; residual: GELU(x + that)."""

    def __init__(self, inside: int, outside: int, middle: int | None = None, residual: bool = False) -> None:
        super().__init__()
        middle, self.residual = middle or outside, residual
        self.layers = nn.Sequential(
            nn.Conv2d(inside, middle, 3, padding=1, bias=False),
            nn.GroupNorm(1, middle),
            nn.GELU(),
            nn.Conv2d(middle, outside, 3, padding=1, bias=False),
            nn.GroupNorm(1, outside),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.layers(x)) if self.residual else self.layers(x)


class Attention(nn.Module):
    """LayerNorm, 4 heads, residual, then LayerNorm, Linear, GELU, Linear, residual, over all pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.heads = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)
        normed = self.norm(pixels)
        pixels = pixels + self.heads(normed, normed, normed)[0]
        pixels = pixels + self.mlp(pixels)
        return pixels.transpose(1, 2).reshape(x.shape)


def encoding(t: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of the timesteps t (B,): (B, width, 1, 1)."""
    rates = 10_000.0 ** -(torch.arange(0, width, 2, device=t.device) / width)
    angles = t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :, None, None]


class TutorialUNet(nn.Module):
    """12.9 million parameters with the default widths; parameters in the order of lightdiff.networks.UNet."""

    def __init__(self, channels: int = 1, widths: tuple[int, int, int, int] = (64, 128, 256, 256)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.inc = Convolutions(channels, a)
        self.downs = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), Convolutions(i, i, residual=True), Convolutions(i, o))
            for i, o in ((a, b), (b, c), (c, d))
        )
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.ups = nn.ModuleList(
            nn.Sequential(Convolutions(i, i, residual=True), Convolutions(i, o, i // 2))
            for i, o in ((d + c, b), (b + b, a), (a + a, a))
        )
        self.outc = nn.Conv2d(a, channels, 1)
        self.attention = nn.ModuleList(Attention(width) for width in (c, d, b))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        def timed(x: Tensor) -> Tensor:
            return x + encoding(t, x.shape[1])

        x1 = self.inc(x)
        x2 = timed(self.downs[0](x1))
        x3 = self.attention[0](timed(self.downs[1](x2)))
        x = self.attention[1](timed(self.downs[2](x3)))
        x = self.attention[2](timed(self.ups[0](torch.cat([x3, self.up(x)], dim=1))))
        x = timed(self.ups[1](torch.cat([x2, self.up(x)], dim=1)))
        x = timed(self.ups[2](torch.cat([x1, self.up(x)], dim=1)))
        return self.outc(x)


class TutorialTraining:
    """Adam at 2e-4 on the mean squared error of the predicted noise, T timesteps, betas from 1e-4 to 0.02.

    Args:
        network: (x_t, t (B,)) -> noise.
        images: a batch (B, C, H, W) in [-1, 1].
        T: number of timesteps.
    """

    def __init__(self, network: nn.Module, images: Tensor, T: int = 1000) -> None:
        self.network, self.images, self.T = network, images, T
        self.betas = torch.linspace(1e-4, 0.02, T, device=images.device)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)

    def remaining(self, t: int) -> Tensor:
        """Share of the image's variance that is left at timestep t (0: the least noisy)."""
        return (1 - self.betas[: t + 1]).prod()

    def loss(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Of images x0 (B, C, H, W) at timesteps t (B,)."""
        noisy = []
        for image, timestep, epsilon in zip(x0, t, noise, strict=True):
            left = self.remaining(int(timestep))
            noisy.append(left.sqrt() * image + (1 - left).sqrt() * epsilon)
        return F.mse_loss(self.network(torch.stack(noisy), t), noise)

    def step(self) -> None:
        t = torch.randint(0, self.T, (len(self.images),), device=self.images.device)
        loss = self.loss(self.images, t, torch.randn_like(self.images))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
