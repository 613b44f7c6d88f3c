"""One run, one folder, also when many start at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.run_config import read_config, write_config
from lightdiff.jobs.run_folder import claim_run_folder, discard_if_untrained, next_run_folder
from waiting import PATIENCE


def test_numbers_go_up_and_gaps_are_not_filled(tmp_path: Path) -> None:
    (tmp_path / "mnist" / "version_7").mkdir(parents=True)
    assert Path(claim_run_folder(str(tmp_path), "mnist")).name == "version_8"
    assert Path(claim_run_folder(str(tmp_path), "fashion")).name == "version_0"


def test_simultaneous_starts_get_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: claim_run_folder(str(tmp_path), "mnist"), range(64)))
    assert len(set(folders)) == 64
    assert {Path(folder).name for folder in folders} == {f"version_{i}" for i in range(64)}


def test_simultaneous_processes_get_a_folder_each(tmp_path: Path) -> None:
    code = "from lightdiff.jobs.run_folder import *; input(); print(claim_run_folder('logs', 'mnist'))"
    start = {"cwd": tmp_path, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code], **start) for _ in range(6)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    names = {Path(process.communicate(timeout=PATIENCE)[0].strip()).name for process in processes}
    assert names == {f"version_{i}" for i in range(6)}


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mnist").write_text("")
    for log_dir in ("file", "logs"):
        with pytest.raises(ConfigError, match=f"^log_dir={tmp_path / log_dir}: "):
            claim_run_folder(str(tmp_path / log_dir), "mnist")


def test_the_next_folder_can_be_asked_for_without_making_it(tmp_path: Path) -> None:
    assert Path(next_run_folder(str(tmp_path), "mnist")).name == "version_0"
    assert list(tmp_path.iterdir()) == []


def test_an_older_configuration_is_kept(tmp_path: Path) -> None:
    for i in range(3):
        write_config(tmp_path, {"i": i})
    assert read_config(tmp_path) == {"i": 2}
    assert (tmp_path / "config.yaml.1").read_text() == "i: 0\n"
    assert (tmp_path / "config.yaml.2").read_text() == "i: 1\n"
    write_config(tmp_path, {"i": 2})
    assert not (tmp_path / "config.yaml.3").exists()


def test_a_folder_without_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        read_config(tmp_path)


def test_only_a_folder_without_training_is_discarded(tmp_path: Path) -> None:
    refused, trained, by_hand = (tmp_path / name for name in ("refused", "trained", "by_hand"))
    by_hand.mkdir()
    write_config(by_hand, {"i": 1})
    discard_if_untrained(by_hand, refused=True)
    assert read_config(by_hand) == {"i": 1}
    for folder in (refused, trained):
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text("[]")
        write_config(folder, {})
        discard = folder == trained and (folder / "checkpoints").mkdir()
        assert not discard
        discard_if_untrained(folder, refused=True)
    assert not refused.exists()
    assert (trained / "config.yaml").exists()
