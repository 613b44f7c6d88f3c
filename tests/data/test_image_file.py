"""Single image files, well-formed and not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lightdiff.data import DataError
from lightdiff.data.image_file import read_image

LIMIT = 10_000


def test_rgb_and_grayscale(tmp_path: Path, write_image, random_pixels) -> None:
    colour, gray = random_pixels(6, 9, 3), random_pixels(6, 9, seed=1)
    write_image(tmp_path / "colour.png", colour)
    write_image(tmp_path / "gray.png", gray)
    assert torch.equal(read_image(tmp_path / "colour.png", 3, LIMIT), colour.permute(2, 0, 1))
    assert torch.equal(read_image(tmp_path / "gray.png", 1, LIMIT), gray[None])
    assert torch.equal(read_image(tmp_path / "gray.png", 3, LIMIT), gray.expand(3, 6, 9))
    luma = colour.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)  # ITU-R 601
    assert (read_image(tmp_path / "colour.png", 1, LIMIT)[0] - luma).abs().max() <= 1


def test_a_photograph_is_turned_upright(tmp_path: Path, random_pixels) -> None:
    pixels = random_pixels(8, 12)
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be shown turned by 90 degrees clockwise
    Image.fromarray(pixels.numpy()).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read_image(tmp_path / "a.png", 1, LIMIT)[0], pixels.rot90(-1))


def test_transparent_parts_are_black_whatever_colour_hides_there(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (4, 2), (200, 100, 50, 0))
    picture.putpixel((1, 0), (10, 20, 30, 255))
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", 3, LIMIT)
    assert image[:, 0, 1].tolist() == [10, 20, 30]
    assert image.sum() == 60


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    values = torch.tensor([[0, 257, 32_896, 65_535]], dtype=torch.int32)
    Image.fromarray(values.numpy().astype("uint16")).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 1, LIMIT)[0].tolist() == [[0, 1, 128, 255]]


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png: not a readable image") as error:
        read_image(path, 3, LIMIT)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_half_a_file_is_named(tmp_path: Path, write_image, random_pixels, kind: str) -> None:
    path = write_image(tmp_path / f"half.{kind}", random_pixels(40, 40, 3))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"half\.{kind}: not a readable image"):
        read_image(path, 3, LIMIT)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    Image.new("1", (200, 60)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match=r"bomb\.png: 200x60 pixels are more than max_pixels=10000"):
        read_image(tmp_path / "bomb.png", 1, LIMIT)
    assert read_image(tmp_path / "bomb.png", 1, 12_000).shape == (1, 60, 200)


@pytest.mark.parametrize("limit", [10_000, 25_000, 40_000, 100_000])
def test_the_limit_holds_where_pillow_warns_and_refuses_itself(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (300, 200)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)  # Pillow: a warning above, an error above twice that
    if limit == 100_000:
        assert read_image(tmp_path / "large.png", 1, limit).shape == (1, 200, 300)
        return
    with pytest.raises(DataError, match=rf"large\.png: more pixels than max_pixels={limit} allows"):
        read_image(tmp_path / "large.png", 1, limit)


def test_other_formats_are_not_read_whatever_the_name(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", format="ICO", sizes=[(4, 4)])
    with pytest.raises(DataError, match=r"a\.png: not a readable image"):
        read_image(tmp_path / "a.png", 3, LIMIT)


def test_importing_the_data_sets_does_not_turn_pillows_warning_into_an_error(run_module) -> None:
    warn = "import warnings, PIL.Image, lightdiff.data; warnings.warn('large', PIL.Image.DecompressionBombWarning)"
    done = run_module("-c", warn)
    assert done.returncode == 0 and "DecompressionBombWarning: large" in done.stderr
