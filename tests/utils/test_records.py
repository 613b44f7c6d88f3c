"""Records of evaluations are read from results.jsonl, and lines that hold none are passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightdiff.utils.records import better, newest_cells, protocol_key, read_records, value_text
from reported import record


@pytest.mark.parametrize(
    "line",
    [
        '{"values": {',
        "[1, 2]",
        "null",
        "[" * 100_000,
        json.dumps({"values": {}}),
        json.dumps(record(checkpoint=None)),
        json.dumps(record(values=None)),
        json.dumps(record(values={"fid": 3.25})),
        json.dumps(record(values={"fid": {"value": "<b>", "spread": None}})),
        json.dumps(record(values={"fid": {"value": 1.0, "spread": [1]}})),
        json.dumps(record(values={"fid": {"value": 10**400, "spread": None}})),
        "\x00\xff",
    ],
)
def test_a_line_that_holds_no_record_is_passed_over(line: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"\n".join([json.dumps(record()).encode(), line.encode("latin-1"), json.dumps(record()).encode()]))
    records, left_out = read_records(path)
    assert records == [record(), record()]
    assert len(left_out) == 1 and left_out[0].startswith("line 2: ")
    assert read_records(tmp_path / "missing.jsonl") == ([], [])


def test_records_of_one_protocol_become_one_cell_in_which_the_later_value_counts() -> None:
    moved = record(
        checkpoint={"file": "elsewhere/a.ckpt", "sha256": "ab", "step": None},
        values={"fid": {"value": 3.5, "spread": None}, "is": {"value": 8.0, "spread": 0.5}},
    )
    other = record(seed=1)
    cells = newest_cells([record(), moved, other])
    assert protocol_key(record()) == protocol_key(moved) != protocol_key(other) and len(cells) == 2
    assert cells[protocol_key(moved)]["values"] == moved["values"]


def test_the_better_value_is_the_smaller_distance_and_the_larger_score() -> None:
    assert better("fid")(2.0, 3.0) == better("kid")(2.0, 3.0) == 2.0
    assert better("is")(2.0, 3.0) == better("recall")(2.0, 3.0) == 3.0


def test_a_value_is_shown_with_its_spread() -> None:
    assert value_text({"value": 3.25449, "spread": None}) == "3.254"
    assert value_text({"value": 8.0, "spread": 0.123}) == "8 ± 0.12"
