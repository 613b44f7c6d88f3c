"""Models for the tests of the page (those that come along, and tiny untrained ones), and files that it has to refuse."""

from __future__ import annotations

import functools
import pickle
import struct
import zlib
from pathlib import Path

import torch

from lightdiff.conditioning import AttributeConditioner, InpaintMask
from lightdiff.conditioning.base import Conditioner
from lightdiff.config.trust import NOBODY
from lightdiff.core import FlowSchedule, VPrediction
from lightdiff.model import DiffusionModel
from lightdiff.networks import ResUNet
from lightdiff.play.frames import Frame
from lightdiff.play.playable import Playable, load_playable

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {"kind": ["bird", "fish"], "tone": ["dark", "light"]}


@functools.cache
def shipped(name: str, data_dir: str | None = None) -> Playable:
    """Return a model that comes along."""
    return load_playable(str(ROOT / "models" / name), "ema", torch.device("cpu"), NOBODY, data_dir)


def untrained(conditioning: Conditioner | None = None, *, channels: int = 1) -> Playable:
    """Return a tiny model of 8x8 pixels."""
    torch.manual_seed(0)
    network = ResUNet(
        channels=channels,
        image_size=8,
        widths=[8],
        blocks_per_level=1,
        attention_levels=[],
        cond_dim=getattr(conditioning, "cond_dim", None),
        image_channels=getattr(conditioning, "image_channels", None),
    )
    with torch.no_grad():
        # networks begin at zero where a condition comes in
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    model = DiffusionModel(network, FlowSchedule(), prediction=VPrediction(), conditioning=conditioning)
    return Playable("tiny", Path("tiny/model.safetensors"), model.eval())


def of_attributes() -> Playable:
    """Return a tiny model of two columns."""
    return untrained(AttributeConditioner(COLUMNS, cond_dim=4))


def of_holes() -> Playable:
    """Return a tiny model that was made to fill holes."""
    return untrained(InpaintMask(1, 8))


def last(frames) -> Frame:
    """Return the last of some frames."""
    *_, frame = frames
    assert frame.finished
    return frame


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


HOSTILE = {
    "bomb.png": (bomb(), "more pixels than max_pixels=50000000 allows"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not a readable image"),
    "pickle.png": (pickle.dumps({"a": 1}), "not a readable image"),
    "empty.png": (b"", "not a readable image"),
    "cut.png": (bomb()[:40], "not a readable image"),
    "two\nlines.png": (b"nothing", "not a readable image"),
}
"""Name of a file -> its content, and what is said of it."""
