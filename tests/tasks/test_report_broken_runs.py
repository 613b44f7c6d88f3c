"""report.py on run folders from strangers, broken ones and half-written ones."""

from __future__ import annotations

import base64
import re
import urllib.parse
from pathlib import Path

import pytest
import yaml

from lightdiff.tasks.report import report
from reported import Elements, lines_of, make_run, png, record

Output = pytest.CaptureFixture[str]
HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>&lt;\x1b[2J\x07"


def test_nothing_of_a_hostile_run_becomes_html_or_moves_the_cursor(tmp_path: Path, capsys: Output) -> None:
    name = HOSTILE.replace("/", "_")
    config = {"seed": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}, "sampler": {"_target_": HOSTILE}, "date": "\ud800"}
    values = {HOSTILE: {"value": 1.0, "spread": None}}
    hostile = record(values=values, sampler={"name": HOSTILE}, weights=HOSTILE, num_samples=HOSTILE)
    folder = make_run(tmp_path / f"javascript:{name}/version_0", yaml.safe_dump(config), records=[hostile])
    make_run(tmp_path / "plain/version_1")
    png(folder / "samples" / f"step_{name}.png").with_suffix(".gif").write_bytes(b"GIF89a")
    path = report([folder.parents[1]])
    assert capsys.readouterr().out.replace("\n", "").isprintable()
    page = Elements(path.read_text(encoding="utf-8"))
    allowed = "html head meta title style body header h1 p main article a img div h2 span dl dt dd ul li b details summary table"
    assert {tag for tag, _ in page.elements} <= {*allowed.split(), "tr", "th", "td", "wbr"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert names <= {"lang", "charset", "name", "content", "http-equiv", "class", "href", "src", "alt"}
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


@pytest.mark.parametrize("config", ["a: [1,", "just text", "a: &a [*a]", "\x00", "a: !!python/object:os.system {}"])
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
