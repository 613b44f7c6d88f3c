"""The parts of a condition that a network takes, and the layer that adds an image as a condition."""

from __future__ import annotations

from torch import Tensor, nn

from lightdiff.networks.attention import zeroed


def keys_of(
    cond_dim: int | None = None, token_dim: int | None = None, image_channels: int | None = None
) -> tuple[str, ...]:
    """Return the keys of the condition of a network with these widths, of which None stands for a part that it does not take."""
    keys = {"vector": cond_dim, "tokens": token_dim, "mask": token_dim, "image": image_channels}
    return tuple(name for name, width in keys.items() if width is not None)


class ImageInput(nn.Conv2d):
    """A convolution without a bias that starts at 0. Its output is added to that of the network's first convolution.

    This equals one convolution of the noisy image and the condition image together, whose weights for the condition begin at 0.
    Therefore the network starts as the network without a condition image, and always equals it for an image of zeros.

    A constructor builds it last, so that the same seed gives all other weights the values that they have without it.
    """

    starts_without_effect = True
    """Whether weights from a model without this module can be loaded into one that has it (see `load_weights_into`)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        zeroed(self)


class SplitConv2d(nn.Conv2d):
    """A first convolution of a network of another package, which takes the condition image as further channels of its input.

    Weight and bias have the names and shapes of the convolution that it replaces, so that weights of a network without a
    condition image fit.

    Args:
        convolution: the convolution to replace.
        image_channels: number of channels of the condition image.
    """

    def __init__(self, convolution: nn.Conv2d, image_channels: int) -> None:
        kernel_size, stride, padding = convolution.kernel_size[0], convolution.stride[0], int(convolution.padding[0])
        super().__init__(convolution.in_channels, convolution.out_channels, kernel_size, stride, padding)
        self.load_state_dict(convolution.state_dict())
        self.image_in = ImageInput(image_channels, convolution.out_channels, kernel_size, stride, padding)

    def forward(self, input: Tensor) -> Tensor:
        """Return the output (B, out_channels, H, W) for input (B, in_channels + image_channels, H, W)."""
        x, image = input.split([self.in_channels, self.image_in.in_channels], dim=1)
        return super().forward(x) + self.image_in(image)
