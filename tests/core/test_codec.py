"""Codecs: from uint8 images to x0 and back."""

import pytest
import torch

from lightdiff.core import PixelCodec


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 1), (-3, 0.5)])
def test_every_gray_level_comes_back(value_range: tuple[float, float]) -> None:
    codec = PixelCodec(value_range)
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x0 = codec.encode(images)
    assert (x0.min().item(), x0.max().item()) == pytest.approx(value_range)
    expected = images.double() / 255 * 2 - 1
    torch.testing.assert_close(codec.decode(x0).double(), expected, atol=1e-6, rtol=0)
    assert torch.equal(((codec.decode(x0) + 1) * 127.5).round().to(torch.uint8), images)


def test_floats_in_0_1_are_images_too_and_the_type_is_as_asked() -> None:
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    x0 = PixelCodec().encode(images, torch.float64)
    assert x0.dtype == torch.float64
    torch.testing.assert_close(x0, 2 * images - 1, atol=1e-15, rtol=0)


def test_the_images_are_clipped_and_keep_their_shape() -> None:
    codec = PixelCodec((0, 1))
    assert codec.decode(torch.tensor([-0.5, 0.0, 0.5, 2.0])).tolist() == [-1, -1, 0, 1]
    assert codec.shape((3, 8, 6)) == (3, 8, 6)


@pytest.mark.parametrize("value_range", [(1, 0), (1, 1), (0, float("inf")), (float("nan"), 1), (1,), (0, 1, 2)])
def test_impossible_ranges_are_refused(value_range: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="value_range=.*two numbers, the lower one first, are expected"):
        PixelCodec(value_range)
