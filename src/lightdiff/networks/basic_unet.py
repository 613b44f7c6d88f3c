"""The network of the toy tutorial: six convolutions, without an input for the time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks.checks import check_cond, check_divisible, check_positive, check_widths
from lightdiff.networks.condition import ImageInput, keys_of
from lightdiff.utils.sizes import two_sizes


class BasicUNet(nn.Module):
    """A UNet of convolutions with SiLU, max-pooling on the way down, nearest upsampling on the way up, and added skips.

    With the defaults it is the toy tutorial's network with 309,057 parameters, except that the output is linear. The tutorial has
    an activation after the last convolution too, which keeps its output above -0.28.

    Args:
        channels: channels of the images.
        image_size: side of the images, or (height, width), divisible by 2^(len(widths) - 1).
        widths: channels of the convolutions on the way down. The way up has them in reverse order.
        kernel_size: side of the convolutions' kernels, an odd number.
        image_channels: channels of `cond["image"]` (B, image_channels, H, W), which is joined to the noisy image. The weights for
            it start at 0. None: the network takes no image.

    Raises:
        ValueError: an argument is out of range. For image_size the message names the nearest sizes that fit.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int | Sequence[int] = 28,
        widths: Sequence[int] = (32, 64, 64),
        kernel_size: int = 5,
        image_channels: int | None = None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, kernel_size=kernel_size, image_channels=image_channels)
        check_widths(widths)
        check_divisible(image_size, 2 ** (len(widths) - 1))
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size}: an odd number is expected")
        self.channels, self.image_size, self.kernel_size = channels, image_size, kernel_size
        self.widths = tuple(widths)
        self.image_shape = (channels, *two_sizes(image_size))
        self.image_channels = image_channels
        self.cond_keys = keys_of(image_channels=image_channels)

        def convolution(width: int, next_width: int) -> nn.Conv2d:
            return nn.Conv2d(width, next_width, kernel_size, padding=kernel_size // 2)

        path = [channels, *widths]
        self.downs = nn.ModuleList([convolution(a, b) for a, b in itertools.pairwise(path)])
        back = [widths[-1], *reversed([channels, *widths[:-1]])]
        self.ups = nn.ModuleList([convolution(a, b) for a, b in itertools.pairwise(back)])
        self.image_in: ImageInput | None = None
        if image_channels is not None:
            self.image_in = ImageInput(image_channels, widths[0], kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor, time: Tensor | None = None, cond: dict[str, Tensor] | None = None) -> Tensor:
        """Return the output (B, C, H, W) for x (B, C, H, W) and the condition. The time is ignored."""
        check_cond(self, cond, x)
        skips: list[Tensor] = []
        for i, convolution in enumerate(self.downs):
            if i > 0:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            first = convolution(x)
            if i == 0 and self.image_in is not None and cond is not None:
                first = first + self.image_in(cond["image"])
            x = F.silu(first)
        for i, convolution in enumerate(self.ups):
            if i > 0:
                x = F.interpolate(F.silu(x), scale_factor=2) + skips.pop()
            x = convolution(x)
        return x
