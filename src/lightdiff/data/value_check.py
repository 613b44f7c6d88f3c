"""Find out that images use so little of the range of their numbers that they would all look black, white or gray.

Such are 12 bits in files of 16, masks that hold the numbers of classes, or a range that belongs to other images.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightdiff.data.errors import DataError
from lightdiff.data.image_file import COLOUR, read_extent
from lightdiff.data.image_store import DecodingStore, ImageStore
from lightdiff.data.pixel_values import WHITE

LOOKED_AT = 16
"""Number of images to look at, evenly spaced over a data set."""

LEAST_SHARE = 1 / 16
"""Share of the range that images must use, and share of their values that the range must cover."""

log = logging.getLogger(__name__)


def value_warnings(store: ImageStore) -> list[str]:
    """Log and return a line for each type of numbers in a store of files whose images use little of their range; mostly none.

    Images that cannot be read are passed over; they are reported where they are due.
    """
    if not isinstance(store, DecodingStore):
        return []
    extents: dict[str, list[tuple[float, float]]] = {}
    rows = sorted({len(store) * i // LOOKED_AT for i in range(LOOKED_AT)})
    for row in rows:
        try:
            kind, low, high = read_extent(store.file(row), store.max_pixels)
        except DataError:
            continue
        extents.setdefault(kind, []).append((low, high))
    looked_at = f"{len(rows)} of {len(store)} training images were looked at"
    found = ((kind, min(low for low, _ in some), max(high for _, high in some)) for kind, some in extents.items())
    lines = [f"{line} ({looked_at})" for line in (_line(*extent, store.value_range) for extent in found) if line]
    for line in lines:
        _warn(line)
    return lines


@rank_zero_only
def _warn(line: str) -> None:
    log.warning("%s", line)


def _line(kind: str, low: float, high: float, value_range: Sequence[float] | None) -> str | None:
    """Return what to say of images whose numbers of this type go from `low` to `high`, if anything."""
    if value_range is None and kind not in (*WHITE, COLOUR):
        return None
    black, white = (0, 255) if kind == COLOUR else value_range or (0, WHITE[kind])
    overlap = min(high, white) - max(low, black)
    if overlap >= LEAST_SHARE * max(white - black, high - low):
        return None
    given = "dataset.source.range" + ("" if value_range is None else f"=[{black:g},{white:g}]")
    advice = f"; dataset.source.range=[{low:g},{high:g}] would spread them" if kind != COLOUR and low < high else ""
    return (
        f"{given}: the values of the {kind} images go from {low:g} to {high:g}, and black to white from {black:g} to {white:g}, "
        f"so that they look almost uniform{advice}"
    )
