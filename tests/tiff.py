"""TIFF files of kinds that Pillow reads and does not write, made byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
"""Kind of a numpy type -> the number that stands for it in the tag SampleFormat."""


def write_tiff(
    path: Path,
    pixels: np.ndarray,
    *,
    white_is_zero: bool = False,
    photometric: int | None = None,
    extra: int | None = None,
    planes: bool = False,
    packed: int | None = None,
) -> Path:
    """Write an uncompressed TIFF.

    Args:
        pixels: (h, w) or (h, w, samples), of any type and byte order.
        white_is_zero: 0 is white, as in files of scanners and X-rays.
        photometric: the tag PhotometricInterpretation, by itself 1 for gray and 2 for colour.
        extra: what the last sample is: 0 anything, 1 premultiplied alpha, 2 alpha.
        planes: one colour after the other, instead of one pixel after the other.
        packed: write integers with this number of bits each, without gaps.
    """
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    data = (np.moveaxis(pixels, -1, 0) if planes else pixels).tobytes()
    if packed:
        bits = "".join(f"{value:0{packed}b}" for value in pixels.flatten())
        data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    tags = {
        256: [width],
        257: [height],
        258: [packed or 8 * pixels.itemsize] * samples,
        259: [1],
        262: [(0 if white_is_zero else 1 if samples < 3 else 2) if photometric is None else photometric],
        277: [samples],
        278: [height],
        284: [2 if planes else 1],
        339: [SAMPLE_FORMATS[pixels.dtype.kind]] * samples,
        **({} if extra is None else {338: [extra]}),
    }
    step = len(data) // samples if planes else len(data)
    strips = range(0, len(data), step)
    tags[273], tags[279] = [0 for _ in strips], [step for _ in strips]
    # the header, the list of tags, the values that do not fit into it, the pixels
    start_of_values = 8 + 2 + 12 * len(tags) + 4
    long_ones = sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [start_of_values + long_ones + strip for strip in strips]
    entries, outside = b"", b""
    for tag in sorted(tags):
        values = tags[tag]
        content = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            content, outside = struct.pack(f"{order}I", start_of_values + len(outside)), outside + content
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + content
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + entries + bytes(4) + outside + data)
    return path
