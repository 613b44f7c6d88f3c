"""No test waits for a fixed time of its own, so that a loaded machine makes none of them fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCK = re.compile(r"\btimeout=[1-9](?! \* PATIENCE)|\.(wait|join)\([1-9]|perf_counter|monotonic\(")
MEASURE = {"waiting.py", "crashes.py", "stress.py", "slurm.py", "test_waits.py"}
"""Files that may look at the clock: the limit itself, reports of how long the end of a run took, a pause before a kill."""
FILES = sorted(file for file in TESTS.rglob("*.py") if file.name not in MEASURE and file.parent.name != "bench")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_waits_have_the_one_limit(file: Path) -> None:
    lines = enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
    assert [(number, line.strip()) for number, line in lines if CLOCK.search(line)] == []
