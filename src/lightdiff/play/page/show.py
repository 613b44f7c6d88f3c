"""From a frame to the HTML that shows it. Pictures and files travel within the HTML, so that none is written to the disk."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from torch import Tensor

from lightdiff.play.frames import Download, Frame, Picture
from lightdiff.utils.images import encode_png

SHOWN = 280
"""CSS pixels to which the longer side of a small picture is enlarged; that of a row twice as far."""
ROW = 3
"""A picture that is so many times as wide as high is a row."""


def frame_html(frame: Frame) -> str:
    """Return the HTML of a frame: how far the work is, the pictures, the slider and the downloads."""
    parts = [_progress(frame), f'<div class="pictures">{"".join(map(_figure, frame.pictures))}</div>']
    if frame.row:
        parts.append(_slider(frame.row))
    if frame.files:
        parts.append(f'<p class="files">{"".join(map(_link, frame.files))}</p>')
    return f'<div class="frame {"finished" if frame.finished else "going"}">{"".join(parts)}</div>'


def refused_html(line: str) -> str:
    """Return the HTML of one line that says why something was refused."""
    return f'<p class="refused" role="alert">{escape(line)}</p>'


def picture_html(picture: Picture) -> str:
    """Return the HTML of a single picture."""
    return f'<div class="pictures">{_figure(picture)}</div>'


def painter_html(picture: Tensor, name: str) -> str:
    """Return a picture, uint8 (C, H, W), with a canvas of H x W pixels on it, on which a mask is painted.

    Args:
        picture: the picture.
        name: id of the element, by which the script on the page finds it.
    """
    height, width = picture.shape[-2:]
    return (
        f'<div class="painter" id="{name}"><div class="stack" style="aspect-ratio: {width} / {height}">'
        f'<img src="{_data("image/png", encode_png(picture))}" alt="the picture to be filled">'
        f'<canvas width="{width}" height="{height}" aria-label="paint here what is to be filled"></canvas></div>'
        f'<p class="tools"><label>brush <input type="range" min="1" max="{max(2, max(height, width) // 2)}" '
        f'value="{max(1, max(height, width) // 6)}"></label>'
        '<button type="button" data-fill="half">right half</button>'
        '<button type="button" data-fill="none">clear</button></p></div>'
    )


def _progress(frame: Frame) -> str:
    words = f"step {frame.done} of {frame.total}"
    if frame.finished:
        return f'<p class="progress" data-words="{words}">{escape(frame.note)}</p>'
    bar = f'<progress max="{frame.total}" value="{frame.done}"></progress>'
    return f'<p class="progress" data-words="{words}">{bar} {words}, {escape(frame.note)}</p>'


def _figure(picture: Picture) -> str:
    height, width = picture.image.shape[-2:]
    longer = max(2 * SHOWN if width > ROW * height else SHOWN, width, height)
    side = longer if width >= height else round(longer * width / height)
    caption = escape(picture.caption)
    source = _data("image/png", encode_png(picture.image))
    return f'<figure><img src="{source}" alt="{caption}" style="width: {side}px"><figcaption>{caption}</figcaption></figure>'


def _slider(row: Sequence[Picture]) -> str:
    stages = "".join(
        f"<div{' hidden' if number else ''}>{_figure(picture)}</div>" for number, picture in enumerate(row)
    )
    slider = (
        f'<input type="range" min="0" max="{len(row) - 1}" value="0" aria-label="from the first noise to the second">'
    )
    return f'<div class="walk">{slider}<div class="stages">{stages}</div></div>'


def _link(file: Download) -> str:
    what = file.name.rpartition(".")[2].upper()
    return f'<a download="{escape(file.name)}" href="{_data(file.kind, file.content)}">download {what}</a>'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
