"""Pictures of a run that a page can hold itself: the newest grid of samples that is whole, small enough for a page of many."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

from lightdiff.utils.files import lies_in

LARGEST_FILE = 100_000
"""Bytes up to which a picture goes into the page as it is. A larger one is shrunk."""

SHRUNK_SIDE = 512
"""Longer side of a shrunk picture in pixels. As a JPEG it has 20,000 to 60,000 bytes; pure noise has 190,000."""

LARGEST_AREA = 50_000_000
"""Pixels, and bytes, beyond which a picture is not shown, so that none can fill the memory of Pillow or of a browser."""

PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def newest_picture(folder: Path) -> Path | None:
    """Return the newest whole samples/step_*.png of a run, or None.

    A picture that is being written is passed over, and so is a link to a file outside of the run's folder.
    """
    newest_first = sorted((folder / "samples").glob("step_*.png"), reverse=True)
    return next((path for path in newest_first if lies_in(path, folder) and _whole(path)), None)


def _whole(path: Path) -> bool:
    """Return whether the file is a PNG, complete, and not too large to show."""
    try:
        # reading anything else, such as a pipe, could wait for ever
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(24)
            start_of_end = file.seek(-min(len(PNG_END), len(head)), io.SEEK_END)
            end = file.read()
    except OSError:
        return False
    if len(head) < 24 or start_of_end > LARGEST_AREA or not head.startswith(PNG_START) or end != PNG_END:
        return False
    width, height = struct.unpack(">II", head[16:24])
    return 0 < width * height <= LARGEST_AREA


def data_url(path: Path) -> str | None:
    """Return the picture as the text of a `data:` URL, shrunk where its file is large; None where it cannot be read."""
    try:
        return as_url(path.read_bytes())
    except Exception:
        # Pillow raises anything about a broken file, from OSError to struct.error and SyntaxError
        return None


def as_url(data: bytes) -> str:
    """Return the content of a PNG file as the text of a `data:` URL, shrunk where it is large."""
    kind = "png"
    if len(data) > LARGEST_FILE:
        data, kind = _shrunk(data), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _shrunk(data: bytes) -> bytes:
    # imported here, because most pages need no picture shrunk
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        smaller = picture.convert("RGB")
    smaller.thumbnail((SHRUNK_SIDE, SHRUNK_SIDE))
    written = io.BytesIO()
    smaller.save(written, "JPEG", quality=85)
    return written.getvalue()
