"""A results.jsonl with lines that are no results: they are left out with one line, and stay in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightdiff.metrics.results import Results
from lightdiff.utils.records import read_records
from reported import record

GOOD = record()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


ODD: dict[str, bytes] = {
    "deep": b"[" * 100_000,
    "deep and whole": b'{"values": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "settings too deep to be written": json.dumps(record(labels="@")).replace('"@"', "[" * 900 + "]" * 900).encode(),
    "no UTF-8": b'{"values": "\xff\xfe"}',
    "half": b'{"values": {"fid"',
    "zeros": bytes(9),
    "a list": b"[1, 2]",
    "text": b'"fid"',
    "nothing": b"null",
    "a number of 5000 digits": b"9" * 5000,
    **{f"without {name}": json.dumps(without(name)).encode() for name in GOOD},
    **{
        f"{name}={value!r}": json.dumps(record(**{name: value})).encode()
        for name in (
            "values",
            "metrics",
            "checkpoint",
            "sampler",
            "reference",
            "extractor",
            "num_steps",
            "guidance_scale",
        )
        for value in ([1], "x", None, -1, True)
        if (name, value) != ("guidance_scale", -1)
    },
    "a value of text": json.dumps(record(values={"fid": {"value": "x", "spread": None}})).encode(),
    "a value that is too large": json.dumps(record(values={"fid": {"value": 10**400, "spread": None}})).encode(),
    "no spread": json.dumps(record(values={"fid": {"value": 1.0}})).encode(),
    "a step of text": json.dumps(record(checkpoint={"file": None, "step": "x"})).encode(),
}


@pytest.mark.parametrize("name", [name for name in ODD if name != "settings too deep to be written"])
def test_a_line_that_is_no_result_is_left_out_and_stays(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "results.jsonl"
    before = json.dumps(GOOD).encode() + b"\n" + ODD[name] + b"\n"
    file.write_bytes(before)
    results = Results(tmp_path)
    assert results.records == [GOOD]
    (line,) = caplog.messages
    assert f"{file}: 1 lines are no results and left out; line 2: " in line and "\n" not in line
    results.add(record(seed=1))
    assert file.read_bytes().startswith(before)
    assert len((tmp_path / "table.md").read_text(encoding="utf-8").splitlines()) == 2 + 2


def test_good_lines_are_read_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Results(tmp_path).add(GOOD)
    assert Results(tmp_path).records == [GOOD] and caplog.messages == []


def test_the_field_at_fault_is_named(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text(json.dumps(record(num_steps="x")) + "\n")
    assert read_records(file) == ([], ["line 1: num_steps=x: a whole number, 0 or more, is expected"])
