"""The figure over the evaluations of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightdiff.metrics import results
from lightdiff.metrics.results import Results, plot


def record(steps: int, fid: float, **changes: Any) -> dict[str, Any]:
    """An evaluation as eval.py records it."""
    return {
        "values": {"fid": {"value": fid, "spread": None}},
        "metrics": {"fid": {}},
        "checkpoint": {"file": "last.ckpt", "sha256": "0", "step": 100, "epoch": 3},
        "weights": "ema",
        "sampler": {"name": "ddim", "eta": 0.0},
        "num_steps": steps,
        "guidance_scale": 1.0,
        "labels": "every class in turn",
        "seed": 0,
        "precision": "32-true",
        "num_samples": 1000,
        "reference": {"dataset": "digits", "split": "train", "num_images": 1617},
        "extractor": {"name": "classifier-digits", "sha256": "2d07ed0e90d3", "resizer": "none"},
        "images_per_second": 50.0,
        **changes,
    }


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Draw records; returns the panels."""

    def draw(records: list[dict[str, Any]]) -> list[Any]:
        figures: list[Any] = []
        monkeypatch.setattr(results, "save_figure", lambda path, figure: figures.append(figure))
        plot(records, tmp_path / "quality.png")
        return figures[0].axes

    return draw


def test_a_panel_begins_at_zero(draw: Any) -> None:
    (panel,) = draw([record(10, 20.1), record(50, 20.0)])
    assert panel.get_ylim()[0] == 0 and panel.get_ylim()[1] > 20.1


def test_a_distance_below_zero_stays_in_sight(draw: Any) -> None:
    (panel,) = draw([record(10, 0.5), record(50, -0.1)])
    assert panel.get_ylim()[0] < -0.1


def test_seeds_are_one_point_with_their_spread(draw: Any) -> None:
    records = [record(10, fid, seed=seed) for seed, fid in enumerate((1.0, 2.0, 3.0))]
    (panel,) = draw([*records, record(50, 4.0)])
    (line,) = panel.containers
    assert list(line.lines[0].get_ydata()) == [2.0, 4.0]
    bars = line.lines[2][0].get_segments()
    assert [end for _, end in bars[0]] == pytest.approx([1.0, 3.0])  # one standard deviation


def test_a_metric_with_a_spread_has_error_bars(draw: Any) -> None:
    values = {"kid": {"value": 3.0, "spread": 0.5}}
    (panel,) = draw([record(10, 0, values=values), record(50, 0, values=values)])
    bars = panel.containers[0].lines[2][0].get_segments()
    assert [[end for _, end in bar] for bar in bars] == [[2.5, 3.5], [2.5, 3.5]]


def test_figures_of_other_numbers_of_samples_are_other_lines(draw: Any) -> None:
    (panel,) = draw([record(10, 9.0, num_samples=100), record(10, 5.0), record(50, 4.0)])
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["100 samples", "1000 samples"]


def test_evaluations_while_training_are_no_lines(tmp_path: Path) -> None:
    while_training = {"file": None, "sha256": None, "step": 50, "epoch": 1}
    folder = Results(tmp_path)
    folder.add(record(10, 9.0, checkpoint=while_training))
    folder.add(record(50, 5.0))
    assert not (tmp_path / "quality.png").exists()
    folder.add(record(100, 4.0))
    assert (tmp_path / "quality.png").exists()
