"""Statistics of the real images: exact to the last image, and kept under a hash of all that they depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lightdiff.data import DiffSet, ImageStore
from lightdiff.data.image_store import MemoryStore
from lightdiff.metrics.reference import Reference, kept_reference, key_of
from metric_parts import Pixels

SIZE = 4


def store(count: int, seed: int = 0) -> MemoryStore:
    images = torch.randint(0, 256, (count, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    return MemoryStore(images.to(torch.uint8), torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("count", [1, 63, 64, 512, 513, 1100])
def test_every_image_counts_once(count: int) -> None:
    images = store(count)
    found = Reference.of(images, Pixels(SIZE * SIZE), {})
    vectors = (images.images.flatten(1).float() / 255).double()
    assert found.count == count and len(found.vectors) == count
    assert torch.allclose(found.total, vectors.sum(0), rtol=1e-12)
    assert torch.allclose(found.outer, vectors.T @ vectors, rtol=1e-12)
    if count > 1:
        assert torch.allclose(found.covariance, vectors.T.cov(), atol=1e-12)


class Counting(Pixels):
    calls = 0

    def features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        type(self).calls += 1
        return super().features(images)


def test_kept_statistics_are_read_instead_of_computed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    extractor, images, facts = Counting(SIZE * SIZE), store(100), {"split": "train"}
    first = kept_reference(tmp_path / "cache", images, extractor, facts)
    calls = Counting.calls
    second = kept_reference(tmp_path / "cache", images, extractor, facts)
    assert Counting.calls == calls and torch.equal(first.outer, second.outer) and second.count == 100
    assert torch.equal(first.vectors, second.vectors) and second.facts == facts
    (tmp_path / "cache").rename(tmp_path / "moved")
    kept_reference(tmp_path / "moved", images, extractor, facts)
    assert Counting.calls == calls
    (file,) = (tmp_path / "moved").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = kept_reference(tmp_path / "moved", images, extractor, facts)
    assert Counting.calls > calls and "computed anew" in caplog.text and torch.equal(first.outer, again.outer)
    assert torch.equal(Reference.load(file).outer, first.outer)


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file")
    assert kept_reference(tmp_path / "cache" / "x", store(10), Pixels(SIZE * SIZE), {}).count == 10
    assert "cannot be kept" in caplog.text


def test_the_key_has_all_that_statistics_depend_on() -> None:
    def facts(images: ImageStore, **changes: Any) -> dict[str, Any]:
        return {
            "dataset": "digits",
            "split": "train",
            "num_images": len(images),
            "content": images.fingerprint,
            "image_shape": list(images.image_shape),
            "resize_mode": "pad",
            "extractor": {"sha256": "0"},
            **changes,
        }

    keys = [
        facts(store(10)),
        facts(store(10, seed=1)),
        facts(store(11)),
        facts(store(10), split="val"),
        facts(store(10), resize_mode="crop"),
        facts(store(10), extractor={"sha256": "1"}),
    ]
    assert len({key_of(key) for key in keys}) == len(keys)
    assert key_of(keys[0]) == key_of(facts(store(10)))


def test_the_fingerprint_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(12):
        Image.new("L", (8, 8), i * 20).save(tmp_path / f"{i:02d}.png")

    def fingerprint() -> str:
        data = DiffSet("folder", data_dir=str(tmp_path), image_size=8, channels=1, max_memory_gb=0)
        data.setup()
        return data.train_set.fingerprint

    before = fingerprint()
    assert before == fingerprint()
    for path in tmp_path.iterdir():
        Image.new("L", (9, 9), 3).save(path)
    assert fingerprint() != before


def test_the_reference_is_not_augmented() -> None:
    plain, flipped = (DiffSet("digits", horizontal_flip=flip) for flip in (False, True))
    plain.setup()
    flipped.setup()
    assert plain.train_set.fingerprint == flipped.train_set.fingerprint
