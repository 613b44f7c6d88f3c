"""A classifier of images that is also told a time, as a classifier of noisy images is told how noisy they are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.checks import check_positive, check_widths
from lightdiff.networks.embedding import sinusoidal_encoding
from lightdiff.networks.layers import group_norm
from lightdiff.utils.sizes import two_sizes


class _Block(nn.Module):
    """Two convolutions; the embedding of the time is added between them."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(embed_dim, out_channels)
        self.norm = group_norm(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.norm(self.first(x) + self.time(embedding)[:, :, None, None])
        return F.silu(self.second(F.silu(x)))


class TimedClassifier(nn.Module):
    """Images (B, C, H, W) and times (B,) to logits (B, num_classes): blocks of convolutions, each at half the size of the last.

    All of it is smooth, because guidance takes the gradient with respect to the image.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width).
        num_classes: number of classes.
        widths: channels of the blocks.
        embed_dim: width of the embedding of the time.

    Raises:
        ValueError: an argument is below 1, or there are no widths.
    """

    def __init__(
        self,
        channels: int,
        image_size: int | Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (32, 64, 96),
        embed_dim: int = 64,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, num_classes=num_classes, embed_dim=embed_dim)
        check_widths(widths)
        self.channels, self.image_size, self.num_classes = channels, image_size, num_classes
        self.widths, self.embed_dim = tuple(widths), embed_dim
        self.image_shape = (channels, *two_sizes(image_size))
        self.embedding = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.SiLU())
        inputs = [channels, *self.widths[:-1]]
        self.blocks = nn.ModuleList([_Block(a, b, embed_dim) for a, b in zip(inputs, self.widths, strict=True)])
        self.head = nn.Linear(self.widths[-1], num_classes)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return logits (B, num_classes) for images x (B, C, H, W) and times (B,) in [0, 1]."""
        embedding = self.embedding(sinusoidal_encoding(1000 * time, self.embed_dim).to(x.dtype))
        for block in self.blocks:
            x = block(x, embedding)
            # images of any size; a last odd row or column counts as a half one
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        return self.head(x.mean((2, 3)))
