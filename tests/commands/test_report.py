"""report.py on real runs and on folders made by hand: a line or two a run, a card a run, and no torch."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightdiff.commands.report import report, report_command
from lightdiff.commands.report.settings import group_choices
from lightdiff.jobs.run_folder import LOCK
from lightdiff.utils.nested import flatten
from reported import Elements, lines_of, make_run, record
from runs import ROOT, composed, tiny, train

Output = pytest.CaptureFixture[str]
HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one epoch, version_0 and version_1, which differ in their learning rate."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    for number, lr in enumerate((1e-3, 2e-3)):
        train(tiny("trainer.max_epochs=1", f"optimizer.lr={lr}"), folder / f"version_{number}")
    return folder


def test_a_line_has_state_losses_and_what_differs(runs: Path, capsys: Output) -> None:
    head, *rows = lines_of(runs, capsys)
    assert head.split("  ")[0] == "run" and "val loss" in head and len(rows) == 2
    for number, (row, lr) in enumerate(zip(rows, ("0.001", "0.002"), strict=True)):
        metrics = json.loads((runs / f"version_{number}" / "result.json").read_text())["metrics"]
        assert row.startswith(f"version_{number}  done, epoch 1 ") and row.endswith(f"optimizer.lr={lr}")
        assert f" {metrics['train/loss_epoch']:.4g} " in row and f" {metrics['val/loss']:.4g} " in row
    assert "sampler" not in "".join(rows)


def test_six_runs_take_about_ten_lines_of_80_characters(tmp_path: Path, capsys: Output) -> None:
    for number, name in enumerate(("linear", "cosine", "sigmoid", "linear", "linear", "linear")):
        long_names = {f"a_setting_with_a_long_name_{i}": i * number for i in range(3)} if number == 2 else {}
        schedule = {"_target_": "lightdiff.core.DiscreteSchedule", "betas": {"_target_": f"x.{name}_betas"}}
        config = {"schedule": schedule, "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001}, **long_names}
        make_run(tmp_path / f"a_data_set_with_a_long_name/version_{number + 6}", config, records=[record()])
    lines = lines_of(tmp_path, capsys)
    assert len(lines) <= 11 and max(map(len, lines)) <= 80
    assert [found[1] for line in lines if (found := re.match(r"\S+version_(\d+) ", line))] == [*"6789", "10", "11"]
    assert [line for line in lines if "=" in line and "usual" not in line] == [
        "  schedule=cosine",
        "  schedule=sigmoid",
    ]
    assert "usual: schedule=linear" in lines


def test_the_page_has_a_card_a_run_with_its_newest_picture_first(runs: Path) -> None:
    page = report([runs]).read_text()
    cards = page.split("</main>")[0].split("<article ")[1:]
    assert len(cards) == 2
    for number, card in enumerate(cards):
        folder = runs / f"version_{number}"
        newest = sorted((folder / "samples").glob("step_*.png"))[-1]
        picture = base64.b64encode(newest.read_bytes()).decode()
        assert card.index(picture) < card.index(f"version_{number}</h2>".replace("</h2>", " <span"))
        assert card.index("training loss") < card.index("Settings that differ (1)") < card.index("All settings (")
        settings = flatten(yaml.safe_load((folder / "config.yaml").read_text()))
        assert f"All settings ({len(settings)})" in card and card.count("<tr") == len(settings) + 1


def test_the_page_needs_no_other_file_and_its_links_are_relative(runs: Path) -> None:
    path = report([runs])
    elements = Elements(path.read_text()).elements
    assert not {tag for tag, _ in elements} & {"link", "iframe", "object", "embed", "form"}
    assert all(attributes["src"].startswith("data:image/") for _, attributes in elements if "src" in attributes)
    targets = [urllib.parse.unquote(attributes["href"]) for tag, attributes in elements if tag == "a"]
    assert {Path(target).suffix for target in targets} == {"", ".gif", ".yaml"} and len(targets) == 2 * 4
    assert all((path.parent / target).exists() and not Path(target).is_absolute() for target in targets)
    assert "url(" not in path.read_text() and "@import" not in path.read_text()


def test_a_run_in_training_says_so_and_shows_the_last_points_of_its_curves(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "version_3"
    folder.mkdir()
    for path in [runs / "version_0" / "config.yaml", *(runs / "version_0").glob("events*")]:
        (folder / path.name).write_bytes(path.read_bytes())
    events = next(folder.glob("events*"))
    # as a file that is being written: its last event is incomplete
    events.write_bytes(events.read_bytes() + b"\x20\x00\x00\x00\x00\x00\x00\x00....\x01\x02")
    result = json.loads((runs / "version_0" / "result.json").read_text())
    losses = [f"{result['metrics'][name]:.4g}" for name in ("train/loss_epoch", "val/loss")]

    def line() -> list[str]:
        done = subprocess.run(
            [sys.executable, str(ROOT / "report.py"), str(folder)], capture_output=True, text=True, check=True
        )
        return re.split(r"  +", done.stdout.splitlines()[1])

    assert line() == ["version_3", f"not ended, step {result['steps']}", *losses]
    (folder / LOCK).touch()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder / LOCK)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        found = line()
        other.kill()
    assert found == ["version_3", f"training, step {result['steps']}", *losses]


def test_points_of_metrics_csv_are_read_as_far_as_they_go(tmp_path: Path, capsys: Output) -> None:
    folder = make_run(tmp_path / "digits/version_0", result=None)
    (folder / "metrics.csv").write_text("step,train/loss,val/loss\n10,0.5,\n20,0.375,0.75\n30,broken,\n40,0.1,0.1\n")
    assert lines_of(folder, capsys)[1].split() == ["version_0", "not", "ended,", "step", "20", "0.375", "0.75"]


def test_the_best_distance_of_each_kind_is_shown_with_its_protocol(tmp_path: Path, capsys: Output) -> None:
    def values(fid: float, score: float) -> dict[str, Any]:
        return {"is": {"value": score, "spread": 0.125}, "fid": {"value": fid, "spread": None}}

    inception = {
        "extractor": {"name": "inception", "sha256": "0", "resizer": "none"},
        "values": {"fid": {"value": 1.5, "spread": None}},
    }
    records = [
        record(values=values(3.25, 7.5)),
        record(seed=1, values=values(4.5, 8.5), guidance_scale=2, weights="raw"),
        record(seed=2, values=values(float("nan"), float("inf"))),
        record(**inception),
    ]
    folder = make_run(tmp_path / "digits/version_0", records=records)
    make_run(tmp_path / "digits/version_1", records=[record(num_steps=10)])
    lines = lines_of(folder.parent, capsys)
    assert lines[1].endswith("fid 3.25") and "different ways" in lines[-1]
    text = re.sub(r"<[^>]+>", "|", (folder.parent / "report.html").read_text())
    assert (
        "|fid||3.25||" in text and "|ddim, 50 steps, 10,000 samples, classifier features against digits train|" in text
    )
    assert (
        "|is||8.5 ± 0.12||" in text and "|ddim, 50 steps, guidance 2, raw weights, 10,000 samples, classifier" in text
    )
    assert "|fid||1.5||" in text and "inception features" in text
    assert not re.search(r"\|(4\.5|7\.5|nan|inf)\b", text)


def test_choices_of_groups_are_named_after_their_classes() -> None:
    settings = flatten(
        composed("schedule=cosine", "objective=v", "sampler=ddim", "sampler/grid=karras", "model=unet_small")
    )
    assert group_choices(settings) == {
        "dataset": "mnist",
        **{"model": "unet", "schedule": "cosine", "objective": "v", "sampler": "ddim+karras"},
        **{"conditioning": "none", "optimizer": "adam"},
    }
    objectives = [path.stem for path in (ROOT / "conf" / "objective").glob("*.yaml")]
    named = {group_choices(flatten(composed(f"objective={name}")))["objective"] for name in objectives}
    assert len(named) == len(objectives) >= 6


@pytest.mark.usefixtures("fresh")
def test_report_does_not_import_torch(runs: Path) -> None:
    heavy = ["torch", "torchvision", "pytorch_lightning", "lightdiff.metrics", "lightdiff.callbacks", "hydra"]
    code = f"""
import runpy, sys
sys.argv = ["report.py", {str(runs)!r}]
try:
    runpy.run_path({str(ROOT / "report.py")!r}, run_name="__main__")
except SystemExit as ended:
    print(ended.code, [name for name in {[*heavy, "numpy", "matplotlib", "PIL"]} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_a_run_and_several_folders_may_be_given(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two, three = (make_run(tmp_path / name) for name in ("mnist/version_0", "cars/version_2", "cars/version_10"))
    assert report([one]) == one / "report.html" and "\nversion_0 " in capsys.readouterr().out
    page = report([two.parent, one, two])
    rows = capsys.readouterr().out.splitlines()[1:4]
    assert page == tmp_path / "report.html"
    assert [row.split()[0] for row in rows] == ["cars/version_2", "cars/version_10", "mnist/version_0"]
    assert 'href="cars/version_10/config.yaml"' in page.read_text() and three.is_dir()


def test_a_folder_without_runs_or_a_mistyped_one_is_one_line(tmp_path: Path, capsys: Output) -> None:
    mnist = make_run(tmp_path / "mnist/version_0").parent
    (tmp_path / "empty").mkdir()
    for folder, message in (
        (tmp_path / "empty", "no runs (version_N/config.yaml) in this folder"),
        (mnist.with_name("mnits"), f"no such folder (did you mean {mnist}?)"),
        (mnist / "version_0" / "config.yaml", "no such folder"),
        (tmp_path / "not" / "there", "no such folder"),
    ):
        assert report_command([str(mnist), str(folder)]) == 2
        output = capsys.readouterr()
        assert output.err.startswith(f"error: {folder}: {message}") and output.err.count("\n") == 1
        assert output.out == ""
    assert not list(tmp_path.rglob("report.html"))
