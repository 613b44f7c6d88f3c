"""What each kind of image becomes: the numbers of every file against the levels that they stand for."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL import __version__ as pillow

from lightdiff.data import DataError
from lightdiff.data.image_file import read_image
from tiff import write_tiff

since_13 = pytest.mark.skipif(
    int(pillow.split(".")[0]) < 13, reason="Pillow before 13, which gradio needs, cannot read such TIFF files"
)

LIMIT = 10_000
LEVELS = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
"""Levels from black to white, which the files of this page hold in many ways."""


def gray(path: Path, value_range: tuple[float, float] | None = None) -> np.ndarray:
    return read_image(path, 1, LIMIT, value_range=value_range)[0].numpy()


def colour(path: Path) -> np.ndarray:
    return read_image(path, 3, LIMIT).permute(1, 2, 0).numpy()


def png(path: Path, bits: int, colour_type: int, row: bytes, width: int, transparent: bytes = b"") -> Path:
    """Write a PNG of one row."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0))
    between = chunk(b"tRNS", transparent) if transparent else b""
    content = header + between + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


# -- numbers that say how bright they are -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_of_either_byte_order(order: str, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", LEVELS.astype(f"{order}u2") * np.array(257, f"{order}u2"))
    assert (gray(path) == LEVELS).all()
    assert (colour(path) == LEVELS[..., None]).all()


def test_sixteen_bits_of_pgm_and_png(tmp_path: Path) -> None:
    wide = LEVELS.astype(">u2") * 257
    for most in (65_535, 4_095):
        values = (LEVELS / 255 * most).round().astype(">u2")
        (tmp_path / "a.pgm").write_bytes(b"P5 8 8 %d\n" % most + values.tobytes())
        assert (gray(tmp_path / "a.pgm") == LEVELS).all()
    Image.fromarray(wide.astype(np.uint16)).save(tmp_path / "a.png")
    assert (gray(tmp_path / "a.png") == LEVELS).all()


def test_twelve_bits_without_gaps_say_their_range(tmp_path: Path) -> None:
    values = (LEVELS / 255 * 4095).round().astype(np.uint16)
    path = write_tiff(tmp_path / "a.tif", values, packed=12)
    assert (gray(path) == LEVELS).all()


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_where_zero_is_white_it_becomes_white(kind: str, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", LEVELS.astype(kind), white_is_zero=True)
    assert (gray(path, (0, 255)) == 255 - LEVELS).all()


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    mask = LEVELS > 100
    for name in ("a.png", "a.bmp", "a.tif", "a.gif", "a.pbm"):
        Image.fromarray(mask).save(tmp_path / name)
        assert (gray(tmp_path / name) == 255 * mask).all()
        assert (colour(tmp_path / name) == 255 * mask[..., None]).all()


# -- numbers that do not ----------------------------------------------------------------------------------------------

UNSTATED = {
    "float32 from 0 to 1": (LEVELS / 255, "f4", (0, 1)),
    "float32 from -1 to 1": (LEVELS / 127.5 - 1, "f4", (-1, 1)),
    "float32 from 0 to 65535": (LEVELS * 257.0, "f4", (0, 65_535)),
    "int8": (LEVELS - 128.0, "i1", (-128, 127)),
    "int16": (LEVELS * 4.0 - 300, "i2", (-300, 720)),
    "int32": (LEVELS * 4.0 - 300, "i4", (-300, 720)),
    "uint32": (LEVELS * 16_000_000.0, "u4", (0, 4_080_000_000)),
}


# Pillow reads no uint32 in big-endian order, and names such a file as any unreadable one
@pytest.mark.parametrize(
    ("name", "order"), [(name, order) for name in UNSTATED for order in "<>" if (name, order) != ("uint32", ">")]
)
def test_numbers_without_a_range_are_refused_and_read_with_one(name: str, order: str, tmp_path: Path) -> None:
    values, kind, value_range = UNSTATED[name]
    path = write_tiff(tmp_path / "a.tif", values.astype(order + kind))
    low, high = f"{values.astype(kind).min():g}", f"{values.astype(kind).max():g}"
    with pytest.raises(DataError) as caught:
        read_image(path, 1, LIMIT)
    assert str(caught.value) == (
        f"{path}: {name.split()[0]} has no range of its own, the values here go from {low} to {high}; give the values "
        "of black and white as dataset.source.range=[a,b], or convert the images to 8 bits"
    )
    assert (gray(path, value_range) == LEVELS).all()
    assert (read_image(path, 3, LIMIT, value_range=value_range).numpy() == LEVELS).all()


def test_a_range_cuts_off_what_lies_beyond_and_makes_nan_black(tmp_path: Path) -> None:
    values = np.array([[-np.inf, -1, 0, 0.5, 1, 2, np.inf, np.nan]], np.float32)
    path = write_tiff(tmp_path / "a.tif", values)
    assert gray(path, (0, 1)).tolist() == [[0, 0, 0, 128, 255, 255, 255, 0]]
    write_tiff(path, values, white_is_zero=True)
    assert gray(path, (0, 1)).tolist() == [[255, 255, 255, 127, 0, 0, 0, 0]]


def test_a_range_also_holds_for_eight_and_sixteen_bits(tmp_path: Path) -> None:
    """Such as masks that hold the numbers of classes, and twelve bits in sixteen."""
    Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8)).save(tmp_path / "mask.png")
    assert gray(tmp_path / "mask.png", (0, 3)).tolist() == [[0, 85, 170, 255]]
    path = write_tiff(tmp_path / "a.tif", (LEVELS / 255 * 4095).round().astype(np.uint16))
    assert (gray(path, (0, 4095)) == LEVELS).all()


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "CMYK"])
def test_a_range_for_colours_is_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    expected = rf"a\.tif: dataset\.source\.range=\[0,1\] is for images of one number per pixel, and this one is {mode}"
    with pytest.raises(DataError, match=expected):
        read_image(tmp_path / "a.tif", 3, LIMIT, value_range=(0, 1))


def test_colours_of_sixteen_bits_in_separate_planes_are_refused(tmp_path: Path) -> None:
    """Pillow takes each half of a number for one."""
    pixels = np.stack([LEVELS] * 3, -1)
    assert (colour(write_tiff(tmp_path / "a.tif", pixels, planes=True)) == pixels).all()
    path = write_tiff(tmp_path / "b.tif", pixels.astype(np.uint16) * 257, planes=True)
    with pytest.raises(DataError, match=r"b\.tif: colours of 16 bits in separate planes are not read; convert"):
        colour(path)


# -- palettes, transparency, other colours ----------------------------------------------------------------------------


def test_a_palette_gives_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 64])
    for name in ("a.png", "a.gif", "a.tif", "a.bmp"):
        picture.save(tmp_path / name)
        assert colour(tmp_path / name).tolist() == [[[0, 0, 0], [128, 0, 0], [0, 128, 64]]]
        assert gray(tmp_path / name).tolist() == [[0, 38, 82]]  # ITU-R 601


@pytest.mark.parametrize(
    ("samples", "premultiplied"), [pytest.param(2, True, marks=since_13), (2, False), (4, True), (4, False)]
)
def test_half_transparent_parts_lie_on_black(samples: int, premultiplied: bool, tmp_path: Path) -> None:
    half = LEVELS // 2
    pixels = np.stack([half if premultiplied else LEVELS] * (samples - 1) + [np.full_like(LEVELS, 128)], -1)
    path = write_tiff(tmp_path / "a.tif", pixels, extra=1 if premultiplied else 2)
    assert np.abs(gray(path).astype(int) - LEVELS * (128 / 255)).max() <= 1
    assert np.abs(colour(path).astype(int) - LEVELS[..., None] * (128 / 255)).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_level_of_gray_is_black_with_any_number_of_bits(bits: int, tmp_path: Path) -> None:
    """Programs that make PNG files smaller write icons like that."""
    white = 2**bits - 1
    row = struct.pack(">2H", 0, white) if bits == 16 else bytes([0, white]) if bits == 8 else bytes([white << 8 - bits])
    path = png(tmp_path / "a.png", bits, 0, row, 2, struct.pack(">H", white))
    assert gray(path).tolist() == [[0, 0]]
    assert colour(path).tolist() == [[[0, 0, 0]] * 2]
    other = png(tmp_path / "b.png", bits, 0, row, 2, struct.pack(">H", 0))
    assert set(gray(other)[0].tolist()) == {0, 255}


@since_13
def test_colours_of_video_in_a_tiff(tmp_path: Path) -> None:
    rgb = np.stack([LEVELS, np.rot90(LEVELS), np.rot90(LEVELS, 2)], -1)
    Image.fromarray(rgb).convert("YCbCr").save(tmp_path / "a.tif")
    assert np.abs(colour(tmp_path / "a.tif").astype(int) - rgb).max() <= 4


def test_colours_of_print_and_lab(tmp_path: Path) -> None:
    rgb = np.stack([LEVELS, np.rot90(LEVELS), np.rot90(LEVELS, 2)], -1)
    picture = Image.fromarray(rgb)
    picture.convert("CMYK").save(tmp_path / "a.tif")
    picture.convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    for name in ("a.tif", "a.jpg"):
        assert np.abs(colour(tmp_path / name).astype(int) - rgb).max() <= 4
    neutral = Image.fromarray(np.stack([LEVELS] * 3, -1))
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    made = ImageCms.applyTransform(neutral, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    assert made is not None
    made.save(tmp_path / "lab.tif")
    assert np.abs(colour(tmp_path / "lab.tif").astype(int) - LEVELS[..., None]).max() <= 3
    assert np.abs(gray(tmp_path / "lab.tif").astype(int) - LEVELS).max() <= 3


def test_a_colour_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.tif", "a.webp"):
        settings = {"lossless": True} if name == "a.webp" else {}
        Image.fromarray(np.stack([LEVELS] * 3, -1)).save(tmp_path / name, icc_profile=profile, **settings)
        assert (colour(tmp_path / name) == LEVELS[..., None]).all()


def rgba() -> np.ndarray:
    """Colours (8, 8, 4) with all levels of transparency, from 0 in the first pixel."""
    return np.stack([LEVELS, np.rot90(LEVELS), np.full_like(LEVELS, 200), np.roll(LEVELS, 5)], -1)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "gray.png"])
def test_two_and_four_channels_have_the_colours_on_black_and_the_transparency(name: str, tmp_path: Path) -> None:
    picture = Image.fromarray(rgba())
    settings = {"lossless": True, "exact": True} if name == "a.webp" else {}
    (picture.convert("LA") if name == "gray.png" else picture).save(tmp_path / name, **settings)
    for channels, colours in ((2, gray(tmp_path / name)[None]), (4, colour(tmp_path / name).transpose(2, 0, 1))):
        read = read_image(tmp_path / name, channels, LIMIT).numpy()
        assert read.shape == (channels, 8, 8)
        assert (read[:-1] == colours).all()
        assert (read[-1] == rgba()[..., 3]).all()


def test_what_has_no_transparency_is_opaque(tmp_path: Path) -> None:
    for mode in ("L", "RGB", "CMYK", "P", "1"):
        Image.new(mode, (3, 2)).save(tmp_path / "a.tif")
        for channels in (2, 4):
            assert (read_image(tmp_path / "a.tif", channels, LIMIT)[-1] == 255).all()


@pytest.mark.parametrize("samples", [pytest.param(2, marks=since_13), 4])
def test_premultiplied_colours_keep_their_transparency(samples: int, tmp_path: Path) -> None:
    half = np.full_like(LEVELS, 128)
    path = write_tiff(tmp_path / "a.tif", np.stack([LEVELS // 2] * (samples - 1) + [half], -1), extra=1)
    assert (read_image(path, samples, LIMIT)[-1] == 128).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_level_of_gray_is_transparent(bits: int, tmp_path: Path) -> None:
    white = 2**bits - 1
    row = struct.pack(">2H", 0, white) if bits == 16 else bytes([0, white]) if bits == 8 else bytes([white << 8 - bits])
    path = png(tmp_path / "a.png", bits, 0, row, 2, struct.pack(">H", white))
    other = png(tmp_path / "b.png", bits, 0, row, 2, struct.pack(">H", 0))
    for read, opaque in ((read_image(path, 2, LIMIT), 0), (read_image(other, 2, LIMIT), 255)):
        assert set(read[1].flatten().tolist()) == {0, 255}
        assert read[0][read[1] == 255].tolist() == [opaque]


# -- turned, and several in one file ----------------------------------------------------------------------------------

TURNED = {
    1: lambda shown: shown,
    2: np.fliplr,
    3: lambda shown: np.rot90(shown, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda shown: np.rot90(shown, 2).T,
    8: lambda shown: np.rot90(shown, -1),
}
"""EXIF orientation -> what is stored of the image to be shown (each undoes itself, or 6 and 8 each other)."""


@pytest.mark.parametrize("orientation", list(TURNED))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "packed.tif", "sixteen.tif"])
def test_an_image_is_turned_upright(orientation: int, name: str, tmp_path: Path) -> None:
    # large areas, because JPEG blurs
    shown = np.kron(np.array([[255, 128, 0], [0, 64, 0]], np.uint8), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNED[orientation](shown))
    settings = {"a.jpg": {"quality": 100}, "a.webp": {"lossless": True}, "packed.tif": {"compression": "tiff_lzw"}}
    picture = Image.fromarray(stored.astype(np.uint16) * 257 if name == "sixteen.tif" else stored)
    picture.save(tmp_path / name, exif=exif, **settings.get(name, {}))
    read = gray(tmp_path / name)
    assert read.shape == shown.shape
    assert np.abs(read.astype(int) - shown).max() <= 2


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.png"])
def test_of_several_images_in_a_file_the_first_is_read(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 2), shade) for shade in ("red", "lime", "blue")]
    settings = {"lossless": True} if name == "a.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **settings)
    assert (colour(tmp_path / name) == [255, 0, 0]).all()
