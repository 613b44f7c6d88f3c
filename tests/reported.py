"""Run folders made by hand for report.py, without training, and what it says of them."""

from __future__ import annotations

import json
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from lightdiff.commands.report import report

USUAL = {"epochs": 7, "steps": 70, "metrics": {"train/loss_epoch": 0.125, "val/loss": 0.25}}


def make_run(
    folder: Path, config: Any = None, result: str | None = json.dumps(USUAL), records: list[dict] | None = None
) -> Path:
    """Make a run folder.

    Args:
        folder: the folder.
        config: content of config.yaml, as data or as text; None: one setting.
        result: content of result.json; None: no such file.
        records: lines of evaluation/results.jsonl; None: no such file.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config if isinstance(config, str) else yaml.safe_dump(config or {"seed": 0}))
    if result is not None:
        (folder / "result.json").write_text(result)
    if records is not None:
        (folder / "evaluation").mkdir()
        (folder / "evaluation" / "results.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in records))
    return folder


def record(**changes: Any) -> dict[str, Any]:
    """A record as eval.py writes it."""
    return {
        "checkpoint": {"file": None, "sha256": "ab", "step": None},
        "weights": "ema",
        "sampler": {"name": "ddim", "eta": 0.0},
        **{"num_steps": 50, "guidance_scale": 1, "labels": None, "seed": 0, "precision": "32", "num_samples": 10_000},
        "reference": {"dataset": "digits", "split": "train", "num_images": 1617},
        "extractor": {"name": "classifier", "sha256": "2d07ed0e90d3", "resizer": "none"},
        "images_per_second": 50.0,
        "values": {"fid": {"value": 3.25, "spread": None}},
        "metrics": {},
        **changes,
    }


def png(path: Path, side: int = 32) -> Path:
    """Write a picture of noise, which no compression makes small."""
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def write_events(path: Path, start: float, points: list[tuple[str, int, float, float]]) -> None:
    """Write an event file of a process that started at `start`; a point is (curve, step, value, seconds after the start)."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    events = [Event(wall_time=start, file_version="brain.Event:2")]
    for name, step, value, seconds in points:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        events.append(Event(wall_time=start + seconds, step=step, summary=summary))
    with path.open("wb") as file:
        for event in events:
            data = event.SerializeToString()
            file.write(struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4))


def data_of(page: Path) -> dict[str, Any]:
    """The data that the page holds for its script."""
    text = page.read_text(encoding="utf-8")
    return json.loads(text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])


def lines_of(folder: Path, output: pytest.CaptureFixture[str]) -> list[str]:
    """The table that the terminal shows, without the line that names the page."""
    report([folder])
    return output.readouterr().out.split("\n\npage: ")[0].splitlines()


class Elements(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
