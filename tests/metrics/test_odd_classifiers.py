"""Files of a classifier that are none: one line, before they fill memory or time."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightdiff.metrics import classifier
from lightdiff.metrics.classifier import WEIGHTS, load_classifier

FACTS: dict[str, tuple[Any, str]] = {
    "channels": (10**9, "channels=1000000000: 1 or 3 is expected"),
    "class_names": (3, "class_names=3: a list is expected"),
    "image_size": ("x", "image_size=x: a whole number from 1 to 1024 is expected"),
    "test_accuracy": ([], "test_accuracy: list found: a finite number is expected"),
    "sha256": (None, "sha256=null: text is expected"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a classifier called mine."""
    for suffix in ("json", "safetensors"):
        shutil.copy(WEIGHTS / f"digits.{suffix}", tmp_path / f"mine.{suffix}")
    return tmp_path


def change(folder: Path, **facts: Any) -> None:
    file = folder / "mine.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def message(folder: Path) -> str:
    with pytest.raises(ValueError, match="is no classifier that can be used") as caught:
        load_classifier("mine", folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_copy_is_the_same_classifier(folder: Path) -> None:
    images = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    own, packaged = load_classifier("mine", folder), load_classifier("digits")
    with torch.inference_mode():
        assert torch.equal(own.network(images)[0], packaged.network(images)[0])


@pytest.mark.parametrize("name", list(FACTS))
def test_a_fact_of_another_kind_is_named(name: str, folder: Path) -> None:
    value, expected = FACTS[name]
    change(folder, **{name: value})
    assert expected in message(folder)


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "null", "{", "\udcff"])
def test_facts_that_are_none(content: str, folder: Path) -> None:
    (folder / "mine.json").write_bytes(content.encode(errors="surrogateescape"))
    message(folder)


def test_more_classes_than_the_weights_have_take_no_memory(folder: Path) -> None:
    change(folder, class_names=["x"] * 1_000_000)
    assert "head.weight is [10, 128] in this file and [1000000, 128]" in message(folder)


def test_a_list_of_a_million_tensors_is_not_parsed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "load_file", None)
    file = folder / "mine.safetensors"
    with file.open("wb") as opened:
        opened.write((90_000_000).to_bytes(8, "little") + b"{")
    change(folder, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    assert "its list of tensors has 90000000 bytes" in message(folder)


def test_weights_of_another_network(folder: Path) -> None:
    file = folder / "mine.safetensors"
    weights = load_file(file)
    weights["head.bias"] = torch.zeros(3)
    save_file(weights, file)
    change(folder, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    assert "head.bias is [3] in this file and [10]" in message(folder)
