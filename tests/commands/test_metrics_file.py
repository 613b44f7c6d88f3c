"""metrics.csv is whole at every moment, and a resumed run goes on with its rows."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lightdiff.jobs.loggers import ResumableCSV
from lightdiff.jobs.run_config import write_config
from runs import tiny, train
from waiting import PATIENCE

KILLED = """
import csv, os, signal, sys
written = []
header = csv.DictWriter.writeheader
def kill(writer):
    if len(written) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(header(writer))
csv.DictWriter.writeheader = kill
from lightdiff.commands.cli import train_command
raise SystemExit(train_command(["--job", {folder!r}]))
"""
"""A run that is killed when it writes the header of its file once more."""


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if value and key != "train/images_per_second"}
            for row in csv.DictReader(file)
        ]


def kill_at_header(folder: Path, *, after: int) -> None:
    job = [sys.executable, "-c", KILLED.format(after=after, folder=str(folder))]
    done = subprocess.run(job, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_killed_while_it_is_written_anew(tmp_path: Path) -> None:
    """Once when a column is added, and once more when the resumed run drops the rows that it writes again."""
    config = tiny("logger=csv", "callbacks=no_samples", "callbacks.checkpoints.every_n_steps=2")
    train(config, tmp_path / "whole")
    expected = rows(tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    write_config(folder, config)
    kill_at_header(folder, after=1)
    left = rows(folder)
    assert len(left) > 0 and left == expected[: len(left)]
    kill_at_header(folder, after=0)
    assert rows(folder) == left
    train(config, folder)
    assert rows(folder) == expected
    assert not list(folder.glob(".metrics.csv*"))


@pytest.mark.parametrize("cut", range(1, 12))
def test_half_a_last_line_is_dropped(cut: int, tmp_path: Path) -> None:
    logger = ResumableCSV(tmp_path, None)
    for step in (8, 17, 125):
        logger.log_metrics({"a": step / 3, "val/loss": 1.5}, step)
    file = tmp_path / "metrics.csv"
    file.write_bytes(file.read_bytes()[:-cut])
    ResumableCSV(tmp_path, 1000).log_metrics({"a": 0.5}, 200)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == ["8", "17", "200"]
    assert float(found[1]["a"]) == 17 / 3


def test_rows_that_are_no_rows_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"a,step\r\n1,1\r\n1\r\n1,2,3\r\n\x00\xff,x\r\n5,2\r\n")
    ResumableCSV(tmp_path, 3).log_metrics({"b": 1}, 3)
    assert [(row.get("a"), row["step"]) for row in rows(tmp_path)] == [("1", "1"), ("5", "2"), (None, "3")]


def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    ResumableCSV(tmp_path, None).log_metrics({"a": 1}, 1)
    ResumableCSV(tmp_path, 0).log_metrics({"b": 2}, 2)
    assert rows(tmp_path) == [{"b": "2", "step": "2"}]


def test_a_file_that_has_gone_is_an_error(tmp_path: Path) -> None:
    logger = ResumableCSV(tmp_path, None)
    logger.log_metrics({"a": 1}, 1)
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(FileNotFoundError, match="metrics.csv"):
        logger.log_metrics({"a": 1}, 2)
    assert not (tmp_path / "metrics.csv").exists()
