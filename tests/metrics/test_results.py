"""The figure over the evaluations of a run."""

from __future__ import annotations

import json
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


def rows_of(folder: Path) -> list[str]:
    return (folder / "table.md").read_text(encoding="utf-8").splitlines()[2:]


@pytest.mark.parametrize("rest", ['{"values": {"fid"', "\x00\x00", '{"values": 3}\n', ""])
def test_a_result_after_a_half_written_line_is_read(rest: str, tmp_path: Path) -> None:
    Results(tmp_path).add(record(10, 1.0))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write(rest)
    Results(tmp_path).add(record(20, 2.0))
    assert [found["num_steps"] for found in Results(tmp_path).records] == [10, 20]
    assert len(rows_of(tmp_path)) == 2


def test_evaluations_at_the_same_time_all_come_into_the_table(tmp_path: Path) -> None:
    several = [Results(tmp_path) for _ in range(3)]
    for number, made in enumerate(several):
        made.add(record(10 + number, 1.0))
    assert len(rows_of(tmp_path)) == 3


def test_a_record_that_is_added_while_the_table_is_made_comes_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, table = Results(tmp_path), results.table
    others = [record(20, 2.0), record(30, 3.0)]

    def slow(cells: Any) -> str:
        text = table(cells)
        if others:
            with (tmp_path / "results.jsonl").open("a") as file:
                file.write(f"{json.dumps(others.pop())}\n")
        return text

    monkeypatch.setattr(results, "table", slow)
    made.add(record(10, 1.0))
    assert len(rows_of(tmp_path)) == 3


def test_what_a_resumed_run_forgets_stays_forgotten(tmp_path: Path) -> None:
    def in_training(step: int, fid: float) -> dict[str, Any]:
        return record(10, fid, checkpoint={"file": None, "sha256": None, "step": step, "epoch": 1})

    for step in (100, 200):
        Results(tmp_path).add(in_training(step, 1.0))
    resumed = Results(tmp_path)
    resumed.forget_after(100)
    assert [found["checkpoint"]["step"] for found in resumed.records] == [100]
    resumed.add(in_training(200, 2.0))
    found = [(made["checkpoint"]["step"], made["values"]["fid"]["value"]) for made in resumed.records]
    assert found == [(100, 1.0), (200, 2.0)]
