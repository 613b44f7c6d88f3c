"""Bringing images to one size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from lightdiff.data.resize import Fit, ResizeMode


def test_pad_centres_on_black(random_pixels) -> None:
    images = random_pixels(5, 1, 28, 28)
    padded = Fit((32, 32), "pad")(images)
    assert padded.shape == (5, 1, 32, 32) and padded.dtype == torch.uint8
    assert torch.equal(padded[..., 2:30, 2:30], images)
    assert padded.sum() == images.sum()


def test_pad_by_an_odd_number_and_to_a_size_that_is_not_square(random_pixels) -> None:
    images = random_pixels(2, 3, 5, 6)
    padded = Fit((8, 11), "pad")(images)
    assert padded.shape == (2, 3, 8, 11)
    assert torch.equal(padded[..., 1:6, 2:8], images)
    assert padded.sum() == images.sum()


def test_pad_refuses_what_is_too_large(random_pixels) -> None:
    with pytest.raises(ValueError, match=r"resize_mode=pad: an image of 28x40 does not fit into 32x32"):
        Fit((32, 32), "pad")(random_pixels(1, 1, 28, 40))


@pytest.mark.parametrize("size", [(16, 16), (13, 40), (64, 48), (5, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_agrees_with_pillow_up_to_rounding(random_pixels, size: tuple[int, int], channels: int) -> None:
    pixels = random_pixels(1, channels, 24, 31)
    fitted = Fit(size, "resize")(pixels)
    picture = Image.fromarray(pixels[0].permute(1, 2, 0).squeeze(-1).numpy())
    scaled = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    expected = (
        torch.frombuffer(bytearray(scaled.tobytes()), dtype=torch.uint8).reshape(*size, channels).permute(2, 0, 1)
    )
    assert (fitted[0].int() - expected.int()).abs().max() <= 1


def test_resize_is_antialiased() -> None:
    stripes = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 200  # without antialiasing: all bright or all dark
    assert (Fit((8, 8), "resize")(stripes).int() - 100).abs().max() <= 12


def test_an_image_does_not_depend_on_those_beside_it(random_pixels) -> None:
    images = random_pixels(7, 3, 20, 30)
    for mode in ("resize", "crop"):
        fit = Fit((16, 12), mode)
        assert torch.equal(fit(images), torch.cat([fit(image[None]) for image in images]))


def test_crop_scales_the_short_side_and_cuts_the_centre() -> None:
    wide = torch.zeros(1, 3, 40, 120, dtype=torch.uint8)
    wide[..., 40:80] = 255  # the middle third is white
    cut = Fit((20, 20), "crop")(wide)
    assert cut.shape == (1, 3, 20, 20)
    assert cut[..., 1:-1].min() == 255
    tall = wide.transpose(-1, -2)
    assert torch.equal(Fit((20, 20), "crop")(tall), cut.transpose(-1, -2))


@pytest.mark.parametrize("given", [(33, 57), (100, 17), (16, 24), (9, 11)])
def test_crop_gives_the_size_asked_for(random_pixels, given: tuple[int, int]) -> None:
    assert Fit((16, 24), "crop")(random_pixels(2, 3, *given)).shape == (2, 3, 16, 24)


def covered(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """What crop has always done, and goes on doing for the images that people have."""
    h, w = images.shape[-2:]
    scale = max(size[0] / h, size[1] / w)
    height, width = max(size[0], round(h * scale)), max(size[1], round(w * scale))
    scaled = torch.nn.functional.interpolate(images, (height, width), mode="bilinear", antialias=True)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return scaled[..., top : top + size[0], left : left + size[1]]


@pytest.mark.parametrize("given", [(480, 640), (37, 500), (333, 41), (16, 24), (5, 70), (1, 16), (300, 301)])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_crop_of_usual_images_is_bit_identical(random_pixels, given: tuple[int, int], size: tuple[int, int]) -> None:
    images = random_pixels(2, 3, *given)
    assert torch.equal(Fit(size, "crop")(images), covered(images, size))


@pytest.mark.parametrize("given", [(2, 60), (60, 2), (3, 101), (1, 99)])
def test_the_middle_of_a_thin_image_is_nearly_the_same(random_pixels, given: tuple[int, int]) -> None:
    images = random_pixels(1, 3, *given)
    images[..., : given[0] // 2, : given[1] // 2] = 0
    fitted = Fit((32, 32), "crop")(images)
    assert (fitted.int() - covered(images, (32, 32)).int()).float().abs().mean() < 12


@pytest.mark.parametrize("mode", ["crop", "resize"])
@pytest.mark.parametrize("given", [(1, 100_000), (100_000, 1), (1, 3_000_000), (3_000_000, 1)])
def test_a_thin_image_takes_little_memory(
    given: tuple[int, int], mode: ResizeMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 256 x 256 the largest of these would have 200 billion pixels on the way."""
    scale = torch.nn.functional.interpolate
    between: list[int] = []

    def interpolate(images: torch.Tensor, size: tuple[int, int], **settings: Any) -> torch.Tensor:
        between.append(images.shape[-2] * size[1])
        return scale(images, size, **settings)

    monkeypatch.setattr(torch.nn.functional, "interpolate", interpolate)
    images = torch.full((1, 1, *given), 77, dtype=torch.uint8)
    assert Fit((256, 256), mode)(images).unique().tolist() == [77]
    assert max(between) <= 2**26


@pytest.mark.parametrize("mode", ["pad", "resize", "crop", "none"])
def test_an_image_of_the_right_size_is_left_alone(random_pixels, mode) -> None:
    images = random_pixels(2, 1, 9, 14)
    assert torch.equal(Fit((9, 14), mode)(images), images)


def test_none_refuses_another_size(random_pixels) -> None:
    with pytest.raises(ValueError, match=r"resize_mode=none: an image of 28x28 is not 32x32"):
        Fit((32, 32), "none")(random_pixels(1, 1, 28, 28))


def test_an_unknown_mode_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="resize_mode=stretch: choices: pad, resize, crop, none"):
        Fit((32, 32), "stretch")  # type: ignore[arg-type]
