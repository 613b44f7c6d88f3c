"""bench/run.py: its clock, its file and tables, its exit codes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import run
from parts import PARTS, loader
from parts.results import Row, add, read, tables
from parts.settings import Settings, Skipped
from parts.timing import Ratio, Rounds, alternate


class Machine:
    """A clock on which a step of a side takes what the side's list says next, times the machine's slowness."""

    def __init__(self) -> None:
        self.time, self.order = 0.0, []

    def step(self, name: str, seconds: list[float]):
        remaining = iter(seconds)

        def step() -> None:
            self.order.append(name)
            self.time += next(remaining)

        return step


def test_sides_take_turns_and_the_ratio_is_the_median_of_those_within_a_round() -> None:
    machine = Machine()
    rounds = Rounds(lap_seconds=0, clock=lambda: machine.time)
    # after two steps to warm up; in the third round the machine is ten times slower, in the second "slow" alone has a hiccup
    sides = {"fast": machine.step("fast", [9, 9, 1, 2, 10]), "slow": machine.step("slow", [9, 9, 3, 14, 40])}
    alternate(sides, 3, rounds)
    assert machine.order == ["fast"] * 2 + ["slow"] * 2 + ["fast", "slow"] * 3
    assert rounds.ratio("slow", "fast") == Ratio(4, 3, 7)  # of the medians it would be 14 / 2
    assert rounds.median("fast") == 2


def test_a_lap_has_as_many_steps_as_fill_it_and_seconds_are_those_of_one() -> None:
    machine, waited = Machine(), []
    rounds = Rounds(lap_seconds=1, clock=lambda: machine.time, synchronize=lambda: waited.append(len(machine.order)))
    alternate({"side": machine.step("side", [5, 0.3, *[0.25] * 4])}, 1, rounds)
    assert rounds.steps == {"side": 4} and rounds.seconds == {"side": [0.25]}
    assert waited == [1, 2, 2, 6]  # the device, before each reading


def test_rows_survive_the_file_and_a_part_measured_again_replaces_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "bench.json"
    facts = Settings().facts()
    add(path, "a", [Row("old", "ms", {"ours": 1.0})], facts)
    add(
        path,
        "d",
        [Row("loader", "images/s", {"loader": 1234.5, "resident batch": 1250.0}, Ratio(0.99, 0.9, 1.0))],
        facts,
    )
    add(path, "a", [Row("new", "ms", {"ours": 2.0, "theirs": None}, target="least")], facts)  # type: ignore[dict-item]
    content = read(path)
    assert json.loads(path.read_text()) == content and sorted(content["parts"]) == ["a", "d"]
    assert {"torch", "threads", "seed", "load_average_before", "machine", "date"} <= content["parts"]["a"][
        "facts"
    ].keys()
    lines = tables(content).splitlines()
    assert "| new | ms | 2 | not reached |  | least |" in lines
    assert "| loader | images/s | 1,234 | 1,250 | 0.99 (0.9 to 1) |  |" in lines
    assert not any("old" in line for line in lines)


def test_exit_codes_tell_skipped_from_failed_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_: Settings) -> list[Row]:
        raise Skipped("pip install it")

    found = [Row("x", "ms", {"ours": 1.0})]
    for name, function in (("efficiency", missing), ("good", lambda settings: found), ("bad", lambda settings: 1 / 0)):
        monkeypatch.setattr(loader, name, function, raising=False)
    for letter, function in (("x", "efficiency"), ("y", "good"), ("z", "bad")):
        monkeypatch.setitem(PARTS, letter, replace(PARTS["d"], function=function))
    out = tmp_path / "bench.json"
    assert run.measure(["x"], Settings(), out) == 3 and not out.exists()
    assert "pip install it" in capsys.readouterr().out
    assert run.measure(["x", "y"], Settings(), out) == 0
    assert run.measure(["z", "y"], Settings(), out) == 1 and sorted(read(out)["parts"]) == ["y"]


def test_the_command_refuses_unknown_parts_and_prints_what_a_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    add(tmp_path / "bench.json", "d", [Row("a row", "ms", {"ours": 1.0})], Settings().facts())
    monkeypatch.setattr(sys, "argv", ["run.py", "--table"])
    assert run.main() == 0 and "| a row | ms | 1 |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["run.py", "--parts", "a,q"])
    with pytest.raises(SystemExit, match="2"):
        run.main()
    assert "a, b, c, d, e, g, h" in capsys.readouterr().err
