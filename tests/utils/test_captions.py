"""Captions in the margin of a picture."""

from __future__ import annotations

import pytest
import torch

from lightdiff.utils.captions import GAP, SIZE, captioned

TOP = GAP + SIZE + GAP


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
