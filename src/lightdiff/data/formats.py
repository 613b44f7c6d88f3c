"""Formats of image files that are read, whatever a file's name says, and the usual ends of such names."""

from __future__ import annotations

from functools import cache

from PIL import Image

# TGA last, because it has no mark at its beginning by which Pillow could know it
STILL_PICTURES = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN", "TIFF"),
    *("WEBP", "TGA"),
)
"""Pillow's names of the formats that hold one picture, of which an animation's first frame is read.

Left out of those that Pillow knows: documents that are programs or need one (EPS, PDF, WMF), films, scientific data without a
range of values (FITS, GRIB, HDF5), and files of several pictures of different sizes (icons, MPO), whose header does not
tell how large the picture is that is decoded."""


@cache
def readable_formats() -> tuple[str, ...]:
    """Return those of `STILL_PICTURES` that the installed Pillow can decode."""
    Image.init()
    return tuple(name for name in STILL_PICTURES if name in Image.OPEN)


@cache
def image_suffixes() -> frozenset[str]:
    """Return the ends of file names of these formats, such as ".jpg", in small letters."""
    formats = readable_formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)
