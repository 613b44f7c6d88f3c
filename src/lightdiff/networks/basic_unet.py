"""BasicUNet: six convolutions and no knowledge of time, as in the toy tutorial."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.checks import check_cond, check_divisible, check_positive, check_widths, two_sizes


class BasicUNet(nn.Module):
    """Convolutions with SiLU, max-pooled down, upsampled up (nearest), skips added.

    The defaults are the tutorial's network with 309,057 parameters, but for the activation that the tutorial puts after the
    last convolution too, which keeps its output above -0.28; here the output is linear.

    Args:
        channels: of the images.
        image_size: side, or (height, width); halved len(widths) - 1 times.
        widths: channels of the convolutions on the way down; the way up mirrors them.
        kernel_size: odd side of the kernels.

    Raises:
        ValueError: a size the network cannot take, with the nearest ones it can; an even kernel; impossible widths.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int | Sequence[int] = 28,
        widths: Sequence[int] = (32, 64, 64),
        kernel_size: int = 5,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, kernel_size=kernel_size)
        check_widths(widths)
        check_divisible(image_size, 2 ** (len(widths) - 1))
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size}: an odd number is expected")
        self.channels, self.image_size, self.kernel_size = channels, image_size, kernel_size
        self.widths = tuple(widths)
        self.image_shape = (channels, *two_sizes(image_size))
        self.cond_keys = ()

        def convolution(width: int, next_width: int) -> nn.Conv2d:
            return nn.Conv2d(width, next_width, kernel_size, padding=kernel_size // 2)

        path = [channels, *widths]
        self.downs = nn.ModuleList([convolution(a, b) for a, b in itertools.pairwise(path)])
        back = [widths[-1], *reversed([channels, *widths[:-1]])]
        self.ups = nn.ModuleList([convolution(a, b) for a, b in itertools.pairwise(back)])

    def forward(self, x: Tensor, time: Tensor | None = None, cond: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, C, H, W) to (B, C, H, W); the time is not looked at."""
        check_cond(self, cond)
        skips: list[Tensor] = []
        for i, convolution in enumerate(self.downs):
            if i > 0:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = F.silu(convolution(x))
        for i, convolution in enumerate(self.ups):
            if i > 0:
                x = F.interpolate(F.silu(x), scale_factor=2) + skips.pop()
            x = convolution(x)
        return x
