"""Every YAML of conf/dataset: its facts agree with the class it names."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lightdiff.config.instantiate import instantiate
from lightdiff.data import SOURCES, DiffSet

CONF = Path(__file__).parents[2] / "conf" / "dataset"
FILES = sorted(CONF.glob("*.yaml"))


def test_every_named_data_set_has_a_file() -> None:
    assert {file.stem for file in FILES} >= set(SOURCES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_builds_its_data_set(file: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(file.read_text())
    # an experiment's
    assert settings["resize_mode"] == "pad" or settings["unpadded_size"] == settings["image_size"]
    assert settings.pop("unpadded_size") <= settings["image_size"]
    names, templates = settings.pop("class_names"), settings.pop("templates")  # the captions'
    assert names is None or len(names) == settings["num_classes"]
    assert all("{}" in template for template in templates or [])
    assert settings.pop("seed") == "${seed}"
    if settings.get("data_dir") == "???":
        settings["data_dir"] = str(tmp_path)
    if settings["source"].get("path") == "???":
        settings["source"]["path"] = str(tmp_path)
    data = instantiate(settings, key="dataset")
    assert isinstance(data, DiffSet)
    assert data.name == file.stem
    plain = DiffSet(file.stem, source=None if file.stem in SOURCES else data.source, data_dir=str(tmp_path))
    assert type(plain.source) is type(data.source) and plain.source == data.source
    for name in ("image_size", "channels", "resize_mode", "batch_size", "drop_last", "max_memory_gb"):
        assert getattr(plain, name) == getattr(data, name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_key_is_explained(file: Path) -> None:
    for line in file.read_text().splitlines():
        assert "#" in line, line
