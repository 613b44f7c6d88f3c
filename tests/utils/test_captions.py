"""Captions in the margin of a picture."""

from __future__ import annotations

import pytest
import torch

from lightdiff.utils.captions import GAP, TOP, WIDEST_MARGIN, captioned, labelled, widened


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_stays_as_it_is(channels: int) -> None:
    picture = torch.randint(0, 256, (channels, 60, 90), dtype=torch.uint8)
    framed = captioned(picture, ["one", "two"], ["left", "right"])
    assert framed.dtype == torch.uint8 and framed.shape[:2] == (channels, TOP + 60)
    assert torch.equal(framed[:, TOP:, -90:], picture)


def test_each_row_and_column_has_its_caption() -> None:
    framed = captioned(torch.zeros(1, 80, 120, dtype=torch.uint8), ["a", "b"], ["x", "", "z"], corner="image")[0]
    margin = framed[:, :-120] < 128
    above = framed[:TOP, -120:] < 128
    assert margin[:TOP].any() and margin[TOP : TOP + 40].any() and margin[TOP + 40 :].any()
    assert [bool(part.any()) for part in above.split(40, dim=1)] == [True, False, True]


def test_the_margin_has_room_for_the_longest_caption() -> None:
    picture = torch.zeros(1, 40, 40, dtype=torch.uint8)
    short, long = (captioned(picture, [text, "b"], [""]) for text in ("a", "a guidance scale of 1000"))
    assert long.shape[-1] > short.shape[-1] + 100
    assert (long[0, :, :GAP] == 255).all()


def test_the_margin_of_very_long_captions_is_limited() -> None:
    framed = captioned(torch.zeros(1, 80, 40, dtype=torch.uint8), ["a long name " * 50, "b"], [""])
    assert framed.shape[-1] == WIDEST_MARGIN + 40
    assert (framed[0, :, :GAP] == 255).all() and (framed[0, TOP : TOP + 40, GAP:WIDEST_MARGIN] < 128).any()


def test_without_captions_of_rows_there_is_no_margin() -> None:
    assert captioned(torch.zeros(1, 40, 60, dtype=torch.uint8), [], ["a", "b"]).shape == (1, TOP + 40, 60)


@pytest.mark.parametrize(("height", "width"), [(33, 171), (2177, 171), (300, 900)])
def test_columns_have_room_for_captions_however_many_rows_there_are(height: int, width: int) -> None:
    wide = widened(torch.zeros(1, height, width, dtype=torch.uint8))
    factor = wide.shape[-1] // width
    assert wide.shape == (1, factor * height, factor * width)
    assert wide.shape[-1] >= 480 and factor <= 4


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_stands_below_its_own_label(channels: int) -> None:
    images = torch.randint(0, 256, (5, channels, 32, 32), dtype=torch.uint8)
    picture = labelled(images, ["1", "", "2", "1", "3"], columns=3)
    step, line = 64 + GAP, TOP + 64 + 2 * GAP
    assert picture.shape == (channels, 2 * line + GAP, 3 * step + GAP)
    lines = []
    for i, image in enumerate(images):
        top, left = GAP + i // 3 * line, GAP + i % 3 * step
        assert torch.equal(picture[:, top + TOP : top + TOP + 64 : 2, left : left + 64 : 2], image)
        lines.append(picture[:, top : top + TOP, left : left + 64])
    assert torch.equal(lines[0], lines[3]) and not torch.equal(lines[0], lines[2])
    assert (lines[1] == 255).all() and (lines[0] < 128).any()


def test_the_label_of_an_image_of_many_channels_stands_once_above_all_of_them() -> None:
    images = torch.randint(0, 256, (1, 4, 16, 16), dtype=torch.uint8)
    side_by_side = torch.cat([*images[0]], dim=-1)[None, None]
    assert torch.equal(labelled(images, ["a class"], columns=1), labelled(side_by_side, ["a class"], columns=1))


HOSTILE = ["$\\frac{$", "two\nlines", "\x1b[31m", "\u65e5\u672c\u8a9e", "w" * 500, "\U0001f600", ""]
"""Names that folders may have."""


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_any_kind_are_written_in_their_place(name: str) -> None:
    images = torch.zeros((2, 1, 8, 8), dtype=torch.uint8)
    picture = labelled(images, [name, "b"], columns=2)
    assert picture.shape[-1] <= 2 * 200
    assert bool((picture[:, :TOP] < 128).any())
    assert captioned(picture, [name], [name]).shape[-1] <= picture.shape[-1] + WIDEST_MARGIN


def test_a_longer_label_makes_the_images_larger_up_to_a_limit() -> None:
    image = torch.zeros((1, 3, 32, 32), dtype=torch.uint8)
    widths = [labelled(image, [name], 1).shape[-1] for name in ("5", "Audi TTS Coupe 2012", "w" * 100)]
    assert widths == [64, 128, 192]
