"""report.py on run folders from strangers, broken ones and half-written ones."""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
from pathlib import Path

import pytest
import yaml

from lightdiff.commands.report import report, report_command
from reported import Elements, lines_of, make_run, png, record

Output = pytest.CaptureFixture[str]
HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>&lt;\x1b[2J\x07"


def test_nothing_of_a_hostile_run_becomes_html_or_moves_the_cursor(tmp_path: Path, capsys: Output) -> None:
    name = HOSTILE.replace("/", "_")
    config = {"seed": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}, "sampler": {"_target_": HOSTILE}, "date": "\ud800"}
    values = {HOSTILE: {"value": 1.0, "spread": None}}
    hostile = record(values=values, sampler={"name": HOSTILE}, weights=HOSTILE, labels=HOSTILE)
    folder = make_run(tmp_path / f"javascript:{name}/version_0", yaml.safe_dump(config), records=[hostile])
    make_run(tmp_path / "plain/version_1")
    png(folder / "samples" / f"step_{name}.png").with_suffix(".gif").write_bytes(b"GIF89a")
    path = report([folder.parents[1]])
    assert capsys.readouterr().out.replace("\n", "").isprintable()
    page = Elements(path.read_text(encoding="utf-8"))
    allowed = "html head meta title style body header h1 p main article a img div h2 span dl dt dd ul li b details summary table"
    assert {tag for tag, _ in page.elements} <= {*allowed.split(), "tr", "th", "td", "wbr", "script"}
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    names = {name for _, attributes in page.elements for name in attributes}
    assert names <= {"lang", "charset", "name", "content", "http-equiv", "class", "href", "src", "alt", "id", "type"}
    assert "<script>alert(2)</script>&lt;" in page.text
    targets = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert len(targets) == 4 + 2 and all(re.fullmatch(r"[\w./%~-]+", target) for target in targets)
    assert all((path.parent / urllib.parse.unquote(target)).exists() for target in targets)


@pytest.mark.parametrize(
    "result",
    ["", "{", "[1]", "null", '{"epochs": 1}', '{"epochs": 1, "metrics": 3}', '{"epochs": 1e999, "metrics": {}}'],
)
def test_a_broken_result_is_that_of_a_run_that_has_not_ended(result: str, tmp_path: Path, capsys: Output) -> None:
    assert lines_of(make_run(tmp_path / "digits/version_0", result=result), capsys)[1].split("  ") == [
        "version_0",
        "not ended",
    ]


@pytest.mark.parametrize(
    "config",
    [
        *("a: [1,", "just text", "a: &a [*a]", "\x00", "a: !!python/object:os.system {}", f"a: 0x{'f' * 6000}"),
        pytest.param(f"a: &a {'x' * 400_000}\nb: [{', '.join(['*a'] * 10_000)}]", id="a long text ten thousand times"),
    ],
)
def test_a_run_whose_config_cannot_be_read_says_so_and_is_not_compared(
    config: str, tmp_path: Path, capsys: Output
) -> None:
    make_run(tmp_path / "digits/version_0", {"seed": 1})
    folder = make_run(tmp_path / "digits/version_1", config).parent
    lines = lines_of(folder, capsys)
    assert lines[2].startswith("version_1  broken config, epoch 7") and "seed" not in "".join(lines)
    assert "config.yaml cannot be read" in (folder / "report.html").read_text()


def test_the_newest_picture_that_is_whole_is_shown_and_a_large_one_is_shrunk(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "digits/version_0")
    large = png(folder / "samples" / "step_0000010.png", side=1024)
    (folder / "samples" / "step_0000020.png").write_bytes(large.read_bytes()[:-5])
    (folder / "samples" / "step_0000030.png").write_bytes(b"<svg onload=alert(1)>")
    (folder / "samples" / "step_0000040.png").touch()
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', report([folder]).read_text())
    assert len(found) == 1 and len(found[0]) < 400_000 < large.stat().st_size
    small = png(folder / "samples" / "step_0000050.png")
    assert base64.b64encode(small.read_bytes()).decode() in report([folder]).read_text()


def test_a_picture_that_cannot_be_decoded_is_not_there(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "digits/version_0")
    large = png(folder / "samples" / "step_0000010.png", side=256)
    data = bytearray(large.read_bytes())
    data[30:90_000] = bytes(len(data[30:90_000]))
    large.write_bytes(data)
    assert "no samples" in report([folder]).read_text()


NAMES = ["version_0_old", "version_", "version_x", "version_\u00b2", "version_-1", f"version_{'9' * 200}"]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_another_name_does_not_end_the_report(name: str, tmp_path: Path, capsys: Output) -> None:
    folder = make_run(tmp_path / "digits/version_1").parent
    make_run(folder / name)
    assert len(lines_of(folder, capsys)) >= 3


ODD = {
    "config.yaml": ["null: 1\n2: 3\n? [a, b]\n: c", "a: 2001-01-01", "a: !!set {x}", "dataset: {name: {a: [1]}}", "{}"],
    "result.json": [
        "[" * 100_000,
        '{"epochs": true, "metrics": {"val/loss": NaN}}',
        '{"epochs": 1e300, "metrics": {}}',
    ],
    "metrics.csv": ["step,val/loss\n" + "9" * 5000 + ",1", "step,a\n1,\0", "a\n1,2,3"],
    "evaluation/results.jsonl": ["[" * 100_000, '"a"', "null", "\udcff"],
    "samples": ["no folder"],
    "evaluation": ["no folder"],
    "events.out.tfevents.1": ["no events" * 9],
}


@pytest.mark.parametrize(
    ("file", "content"), [(file, content) for file, contents in ODD.items() for content in contents]
)
def test_an_odd_file_does_not_end_the_report_of_the_others(
    file: str, content: str, tmp_path: Path, capsys: Output
) -> None:
    folder = make_run(tmp_path / "digits/version_1").parent
    odd = make_run(folder / "version_0", result=None) / file
    odd.parent.mkdir(exist_ok=True)
    odd.write_bytes(content.encode(errors="surrogateescape"))
    names = {line.split()[0] for line in lines_of(folder, capsys)}
    assert names >= {"version_0", "version_1"}


@pytest.mark.parametrize("kind", ["pipe", "link to nothing", "link to itself", "endless file", "folder"])
@pytest.mark.parametrize("file", [*ODD, "samples/step_0000001.png", ".lock"])
def test_a_file_of_another_kind_is_not_read(kind: str, file: str, tmp_path: Path, capsys: Output) -> None:
    folder = make_run(tmp_path / "digits/version_1").parent
    odd = make_run(folder / "version_0", result=None) / file
    odd.parent.mkdir(exist_ok=True)
    odd.unlink(missing_ok=True)
    targets = {"link to nothing": folder / "nothing", "link to itself": odd, "endless file": Path("/dev/zero")}
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "folder":
        odd.mkdir()
    else:
        odd.symlink_to(targets[kind])
    assert "version_1" in {line.split()[0] for line in lines_of(folder, capsys)}


def test_links_out_of_a_run_are_not_followed(tmp_path: Path, capsys: Output) -> None:
    """A stranger's folder must not bring files of the reader into a page that is passed on."""
    own = make_run(tmp_path / "own/version_7", {"password": "secret"}, records=[record()])
    (own / "metrics.csv").write_text("step,val/loss\n77,0.777\n")
    picture = png(own / "samples" / "step_0000001.png")
    (own / "samples" / "step_0000001.gif").write_bytes(b"GIF89a")
    taken = tmp_path / "stranger/version_0"
    for folder in (taken / "samples", taken / "evaluation"):
        folder.mkdir(parents=True)
    for name in ("config.yaml", "result.json", "metrics.csv", "evaluation/results.jsonl"):
        (taken / name).symlink_to(own / name)
    for suffix in (".png", ".gif"):
        (taken / "samples" / f"step_9999999{suffix}").symlink_to(picture.with_suffix(suffix))
    lines = lines_of(taken.parent, capsys)
    assert lines[1].split("  ") == ["version_0", "broken config"]
    page = (taken.parent / "report.html").read_text()
    assert "no samples" in page and ".gif" not in page
    assert not any(word in page for word in ("secret", "base64", "fid", "0.25", "0.777"))


def test_a_lock_that_is_a_link_leaves_its_target_as_it_is(tmp_path: Path, capsys: Output) -> None:
    run = make_run(tmp_path / "digits/version_0")
    (tmp_path / "precious").write_text("content")
    (run / ".lock").symlink_to(tmp_path / "precious")
    lines_of(run.parent, capsys)
    assert (tmp_path / "precious").read_text() == "content"


def test_runs_that_lie_on_another_disk_may_be_linked(tmp_path: Path, capsys: Output) -> None:
    run = make_run(tmp_path / "disk/run_of_may", {"seed": 1})
    png(run / "samples" / "step_0000001.png")
    folder = make_run(tmp_path / "logs/version_0").parent
    (folder / "version_1").symlink_to(run)
    assert {"version_0", "run_of_may"} <= {line.split()[0] for line in lines_of(folder, capsys)}
    assert "base64" in (folder / "report.html").read_text()


def test_a_folders_name_in_an_error_moves_no_cursor(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "digits\x1b[2J").mkdir()
    assert report_command([str(tmp_path / "digits")]) == 2
    line = capsys.readouterr().err
    assert "did you mean" in line and line.strip().isprintable()
