"""Statistics of real images out of a file: used only if they hold what is asked for and can be statistics at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightdiff.data.image_store import MemoryStore
from lightdiff.metrics.reference import Reference, kept_reference
from metric_parts import Pixels

SIZE = 4
WIDTH = SIZE * SIZE
FACTS = {"dataset": "digits", "split": "train", "num_images": 40, "content": "a", "extractor": {"sha256": "0"}}


def store(count: int = 40, seed: int = 0) -> MemoryStore:
    images = torch.randint(0, 256, (count, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    return MemoryStore(images.to(torch.uint8), torch.zeros(count, dtype=torch.int64))


def kept(folder: Path, facts: dict[str, Any], images: MemoryStore | None = None) -> Path:
    """Keep statistics; returns their file."""
    before = set(folder.glob("*"))
    kept_reference(folder, images or store(), Pixels(WIDTH), facts)
    (file,) = set(folder.glob("*")) - before
    return file


@pytest.mark.parametrize(
    ("fact", "other"),
    [("split", "val"), ("dataset", "mnist"), ("content", "b"), ("extractor", {"sha256": "1"}), ("num_images", 41)],
)
def test_a_file_of_other_facts_is_not_used(
    fact: str, other: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has copied a file over another one."""
    own = kept(tmp_path, FACTS)
    theirs = kept(tmp_path, {**FACTS, fact: other}, store(41 if fact == "num_images" else 40, seed=1))
    own.write_bytes(theirs.read_bytes())
    found = kept_reference(tmp_path, store(), Pixels(WIDTH), FACTS)
    assert torch.equal(found.outer, Reference.of(store(), Pixels(WIDTH), FACTS).outer)
    (line,) = caplog.messages
    assert str(own) in line and f"it holds other facts than are asked for: {fact}=" in line and "computed anew" in line
    caplog.clear()
    kept_reference(tmp_path, store(), Pixels(WIDTH), FACTS)
    assert caplog.messages == []


def uneven(outer: Tensor) -> Tensor:
    outer[0, 1] += 1
    return outer


GARBLED: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "too narrow": ("total", lambda total: total[:-1].clone()),
    "another width": ("outer", lambda outer: outer[:-1].clone()),
    "no count": ("count", lambda count: torch.tensor(0)),
    "a negative count": ("count", lambda count: torch.tensor(-3)),
    "several counts": ("count", lambda count: torch.tensor([40, 40])),
    "another count": ("count", lambda count: torch.tensor(39)),
    "a huge count": ("count", lambda count: torch.tensor(2**62)),
    "NaN": ("total", lambda total: total * float("nan")),
    "infinite vectors": ("vectors", lambda vectors: vectors / 0),
    "few vectors": ("vectors", lambda vectors: vectors[:5].clone()),
    "not symmetric": ("outer", uneven),
    "a negative variance": ("outer", lambda outer: outer * 0),
    "whole numbers": ("total", lambda total: total.long()),
}


@pytest.mark.parametrize("name", list(GARBLED))
def test_numbers_that_are_no_statistics_are_not_used(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = kept(tmp_path, FACTS)
    metadata = {"facts": json.dumps(FACTS)}
    tensor, change = GARBLED[name]
    tensors = load_file(file)
    tensors[tensor] = change(tensors[tensor])
    save_file(tensors, file, metadata=metadata)
    found = kept_reference(tmp_path, store(), Pixels(WIDTH), FACTS)
    assert torch.equal(found.outer, Reference.of(store(), Pixels(WIDTH), FACTS).outer) and found.count == 40
    (line,) = caplog.messages
    assert "not used, the statistics are computed anew" in line and "\n" not in line


def test_statistics_of_another_width_throughout_are_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = kept(tmp_path, FACTS)
    narrow = Reference.of(store(), Pixels(WIDTH), FACTS)
    Reference(narrow.total[:8], narrow.outer[:8, :8].contiguous(), 40, narrow.vectors[:, :8].contiguous(), FACTS).save(
        file
    )
    assert kept_reference(tmp_path, store(), Pixels(WIDTH), FACTS).total.numel() == WIDTH
    assert "it has 40 images of 8 features each" in caplog.text


@pytest.mark.parametrize("facts", ["[1]", "null", "{", "[" * 100_000])
def test_facts_of_another_kind_are_not_used(facts: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = kept(tmp_path, FACTS)
    save_file(load_file(file), file, metadata={"facts": facts})
    assert kept_reference(tmp_path, store(), Pixels(WIDTH), FACTS).count == 40
    assert "computed anew" in caplog.text


def test_a_list_of_a_million_tensors_is_not_parsed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = kept(tmp_path, FACTS)
    with file.open("wb") as opened:
        opened.write((90_000_000).to_bytes(8, "little") + b"{")
        opened.truncate(90_000_008)
    assert kept_reference(tmp_path, store(), Pixels(WIDTH), FACTS).count == 40
    assert "its list of tensors has 90000000 bytes" in caplog.text
