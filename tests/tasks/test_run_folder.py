"""One run, one folder, also when many start at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightdiff.tasks.run_folder import claim_run_folder, discard_if_untrained, read_config, write_config
from lightdiff.utils.config import ConfigError


def test_numbers_go_up_and_gaps_are_not_filled(tmp_path: Path) -> None:
    (tmp_path / "mnist" / "version_7").mkdir(parents=True)
    assert Path(claim_run_folder(str(tmp_path), "mnist")).name == "version_8"
    assert Path(claim_run_folder(str(tmp_path), "fashion")).name == "version_0"


def test_simultaneous_starts_get_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: claim_run_folder(str(tmp_path), "mnist"), range(64)))
    assert len(set(folders)) == 64
    assert {Path(folder).name for folder in folders} == {f"version_{i}" for i in range(64)}


def test_an_older_configuration_is_kept(tmp_path: Path) -> None:
    for i in range(3):
        write_config(tmp_path, {"i": i})
    assert read_config(tmp_path) == {"i": 2}
    assert (tmp_path / "config.yaml.1").read_text() == "i: 0\n"
    assert (tmp_path / "config.yaml.2").read_text() == "i: 1\n"


def test_a_folder_without_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        read_config(tmp_path)


def test_only_a_folder_without_training_is_discarded(tmp_path: Path) -> None:
    refused, trained = tmp_path / "refused", tmp_path / "trained"
    for folder in (refused, trained):
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text("[]")
        write_config(folder, {})
        discard = folder == trained and (folder / "checkpoints").mkdir()
        assert not discard
        discard_if_untrained(folder, refused=True)
    assert not refused.exists()
    assert (trained / "config.yaml").exists()
