"""report.py: runs side by side, as text and as one page."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
import yaml

from lightdiff.tasks.report import report, report_command
from runs import tiny, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    for number, lr in enumerate((1e-3, 2e-3)):
        train(tiny("trainer.max_epochs=1", f"optimizer.lr={lr}"), folder / f"version_{number}")
    unfinished = folder / "version_10"
    unfinished.mkdir()
    config = yaml.safe_load((folder / "version_0" / "config.yaml").read_text())
    config["optimizer"]["lr"] = "<b>"
    (unfinished / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_the_table_has_what_differs_and_the_metrics(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(runs)
    text = capsys.readouterr().out
    for number in (0, 1):
        result = json.loads((runs / f"version_{number}" / "result.json").read_text())
        assert f"{result['metrics']['val/loss']:.4g}" in text
    assert re.search("0.001.*0.002", text, re.DOTALL) and "optimizer.lr" in text
    assert "not ended" in text and text.index("version_1 ") < text.index("version_10")
    assert "sampler.num_steps" not in text  # the same in all


def test_the_page_needs_no_other_file(runs: Path) -> None:
    page = report(runs).read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 2
    newest = sorted((runs / "version_0" / "samples").glob("step_*.png"))[-1]
    assert base64.b64decode(pictures[0]) == newest.read_bytes()
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page
    assert "&lt;b&gt;" in page and "<b>" not in page


def test_figures_of_evaluations_are_shown_at_their_best(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = {
        **dict.fromkeys(("weights", "num_steps", "guidance_scale", "labels", "precision", "num_samples")),
        **{"checkpoint": {}, "sampler": {"name": "ddim"}, "reference": {}, "extractor": {}, "metrics": {}},
    }
    lines = [
        {**common, "seed": seed, "values": {"fid": {"value": fid, "spread": None}, "is": {"value": score, "spread": 1}}}
        for seed, fid, score in ((0, 3.25, 7.5), (1, 4.5, 8.5))
    ]
    (runs / "version_0" / "evaluation").mkdir(exist_ok=True)
    (runs / "version_0" / "evaluation" / "results.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    report(runs)
    text = capsys.readouterr().out
    assert "3.25" in text and "8.5" in text and "4.5" not in text.replace("8.5", "") and "7.5" not in text


def test_a_folder_without_runs_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_command([str(tmp_path)]) == 2
    assert "no runs" in capsys.readouterr().err
