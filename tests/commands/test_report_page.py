"""The data that the page of report.py holds for its script, and samples at equal noise."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from lightdiff.commands.report import report, report_command
from lightdiff.commands.report.curves import MOST_POINTS
from reported import data_of, make_run, record, write_events
from runs import ROOT, tiny, train

Output = pytest.CaptureFixture[str]
SCRIPTS = sorted((ROOT / "src/lightdiff/commands/report").glob("*.js"))


def test_only_the_pages_own_script_may_run_and_nothing_may_be_loaded(tmp_path: Path) -> None:
    text = report([make_run(tmp_path / "digits/version_0")]).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy and policy[1].split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]
    assert len(SCRIPTS) == 3 and all(path.read_text() in script for path in SCRIPTS)


def test_the_scripts_are_small_and_make_no_html_and_no_request() -> None:
    for path in SCRIPTS:
        text = path.read_text()
        assert len(text.splitlines()) <= 300 and max(map(len, text.splitlines())) <= 160
        words = (
            "innerHTML outerHTML insertAdjacentHTML document.write eval( fetch( XMLHttpRequest import( </script http:"
        )
        # the name of a namespace of SVG is no address
        assert not [word for word in words.split() if word in text.replace("http://www.w3.org/2000/svg", "")]


def test_curves_have_steps_minutes_without_pauses_and_what_a_resumed_run_logged_last(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "digits/version_0")
    first = [("val/loss", 10, 0.5, 60), ("val/loss", 20, 0.4, 120), ("other", 20, 1.0, 180)]
    second = [("val/loss", 20, 0.375, 60), ("val/loss", 30, math.nan, 90), ("val/loss", 40, 0.25, 120)]
    write_events(folder / "events.out.tfevents.1000.a", 1000, first)
    write_events(folder / "events.out.tfevents.9000.a", 9000, second)
    # the same points, without their times
    (folder / "metrics.csv").write_text("step,val/loss,train/loss\n10,0.5,1.5\n40,0.25,1.25\n")
    (run,) = data_of(report([folder]))["runs"]
    assert run["curves"] == {
        "validation loss": [[10, 1, 0.5], [20, 4, 0.375], [40, 5, 0.25]],
        "training loss": [[10, None, 1.5], [40, None, 1.25]],
    }
    assert run["minutes"] == 5


def test_distances_of_checkpoints_are_curves_by_protocol(tmp_path: Path) -> None:
    def at(step: int | None, value: float, **changes: Any) -> dict[str, Any]:
        checkpoint = {"file": None, "sha256": "ab", "step": step}
        return record(checkpoint=checkpoint, values={"fid": {"value": value, "spread": None}}, **changes)

    records = [at(200, 2.5), at(100, 4.5), at(200, 9.0, num_steps=10), at(None, 1.0, seed=3), at(300, math.nan)]
    folder = make_run(tmp_path / "digits/version_0", records=records)
    write_events(folder / "events.out.tfevents.1.a", 0, [("train/loss", 90, 1, 60), ("train/loss", 150, 1, 120)])
    (run,) = data_of(report([folder]))["runs"]
    curves = {name: curve for name, curve in run["curves"].items() if "loss" not in name}
    protocol = "samples, classifier features against digits train)"
    assert curves == {
        f"fid (ddim, 50 steps, 10,000 {protocol}": [[100, 1, 4.5], [200, 2, 2.5]],
        f"fid (ddim, 10 steps, 10,000 {protocol}": [[200, 2, 9.0]],
    }
    assert run["best"] == ["fid", 1.0]


def test_a_long_curve_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "digits/version_0")
    rows = "\n".join(f"{step},{1 / step}" for step in range(1, 5001))
    (folder / "metrics.csv").write_text(f"step,train/loss\n{rows}\n")
    curve = data_of(report([folder]))["runs"][0]["curves"]["training loss"]
    steps = [step for step, _, _ in curve]
    assert len(steps) == MOST_POINTS and steps[0] == 1 and steps[-1] == 5000 and steps == sorted(set(steps))


def test_settings_that_all_runs_share_are_there_once_and_long_ones_are_told_apart(tmp_path: Path) -> None:
    words = "word " * 1000
    for number in range(3):
        make_run(tmp_path / f"digits/version_{number}", {"seed": number, "same": 7, "words": f"{words}{number // 2}"})
    data = data_of(report([tmp_path / "digits"]))
    assert data["common"] == {"same": "7"}
    assert [run["settings"]["seed"] for run in data["runs"]] == ["0", "1", "2"]
    first, second, third = (run["settings"]["words"] for run in data["runs"])
    assert first == second != third and len(third) < 400


def test_fifty_runs_with_curves_and_no_pictures_are_a_small_page(tmp_path: Path) -> None:
    rows = "\n".join(f"{step},{1 / step},{2 / step}" for step in range(1, 501))
    config = yaml.safe_dump({f"key_{i}": i for i in range(100)})
    for number in range(50):
        folder = make_run(tmp_path / f"digits/version_{number}", f"seed: {number}\n{config}", records=[record()])
        (folder / "metrics.csv").write_text(f"step,train/loss,val/loss\n{rows}\n")
    path = report([tmp_path / "digits"])
    assert len(data_of(path)["runs"]) == 50 and path.stat().st_size < 1_500_000


def test_the_noise_of_stored_samples_is_named_by_what_decides_it(tmp_path: Path) -> None:
    config = tiny("trainer.max_epochs=1")
    noises = []
    for number, changes in enumerate(({}, {"rows": 2}, {"seed": 4}, None)):
        samples = None if changes is None else config["callbacks"]["samples"] | changes
        changed = config | {"callbacks": config["callbacks"] | {"samples": samples}}
        noises.append(data_of(report([make_run(tmp_path / f"version_{number}", changed)]))["runs"][0]["noise"])
    assert noises[0] == noises[1] == "seed 0, GaussianNoise, 1 channels, 16 pixels a side"
    assert noises[2] == noises[0].replace("seed 0", "seed 4") and noises[3] is None


def test_grids_of_two_runs_begin_with_the_same_noise_where_the_page_says_so(tmp_path: Path) -> None:
    """Compared are the first frames of fifty. A callback without a seed of its own has that of its run."""
    frames, noises = [], []
    for number, changes in enumerate((["seed=1"], ["seed=2"], ["seed=2", "+callbacks.samples.seed=1"])):
        folder = tmp_path / f"version_{number}"
        settings = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "sampler.num_steps=50")
        train(tiny(*settings, "callbacks.samples.frame_every=1", *changes), folder)
        with Image.open(next(folder.glob("samples/step_*.gif"))) as gif:
            frames.append(np.asarray(gif.convert("L"), dtype=float).ravel())
        noises.append(data_of(report([folder]))["runs"][0]["noise"])
    alike = np.corrcoef(frames)
    assert noises[0] == noises[2] != noises[1]
    assert alike[0, 2] > 0.9 and alike[0, 1] < 0.5


def test_samples_are_drawn_only_when_asked_for_and_a_broken_run_says_why_there_are_none(
    tmp_path: Path, capsys: Output
) -> None:
    folder = train_tiny(tmp_path / "digits/version_0")
    make_run(tmp_path / "digits/version_1")
    assert "equal" not in report([folder.parent]).read_text().partition("<main>")[2].partition("</main>")[0]
    page = report([folder.parent], samples=4).read_text().partition("</main>")[0]
    first, second = page.split("<article ")[1:]
    assert "<figcaption>4 samples: ddim, 50 steps, noise of seed 0</figcaption>" in first
    assert re.search(r'<figure class="drawn"><img alt="[^"]+" src="data:image/png;base64,', first)
    assert re.search(r'<figure class="drawn"><figcaption>no samples: [^<]+</figcaption>', second)
    assert "drawing 4 samples of version_0" in capsys.readouterr().out


def train_tiny(folder: Path) -> Path:
    train(tiny("trainer.max_epochs=1"), folder)
    return folder


@pytest.mark.parametrize("count", ["0", "65", "-1", "two", "9" * 5000])
def test_a_number_of_samples_that_cannot_be_is_refused(count: str, tmp_path: Path, capsys: Output) -> None:
    make_run(tmp_path / "version_0")
    with pytest.raises(SystemExit) as ended:
        report_command([str(tmp_path), f"--samples={count}"])
    assert ended.value.code == 2 and "1 to 64 is expected" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_no_value_ends_the_data(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><!--\u2028\ud800"
    path = report([make_run(tmp_path / "digits/version_0", {"a": "x", "b": json.loads(json.dumps(hostile))})])
    assert path.read_text(encoding="utf-8").count("<script") == 2
    assert data_of(path)["common"]["b"] == hostile
