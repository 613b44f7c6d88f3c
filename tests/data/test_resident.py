"""Images kept on the training's device: the same batches, put together there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lightdiff.data import DiffSet
from lightdiff.data import residence as residence_of
from lightdiff.data.loader import BatchLoader

META = torch.device("meta")
"""A stand-in for a GPU: tensors on it have shapes but no values."""


def on_device(device: torch.device, **settings: Any) -> DiffSet:
    data = DiffSet("digits", batch_size=50, **settings)
    data.setup()
    progress = SimpleNamespace(total=SimpleNamespace(processed=3))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        strategy=SimpleNamespace(root_device=device),
        global_rank=1,
        world_size=2,
        training=True,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress)),
    )
    return data


def free(monkeypatch: pytest.MonkeyPatch, data: DiffSet, share: float) -> None:
    """Pretend that the device has so much free memory that the images take this share of it."""
    needed = data.train_set.num_bytes + data.val_set.num_bytes
    monkeypatch.setattr(residence_of, "free_memory", lambda device: needed / share)


@pytest.mark.parametrize(
    ("resident", "share", "expected"),
    [("auto", 0.24, True), ("auto", 0.26, False), (True, 0.9, True), (False, 0.01, False)],
)
def test_auto_is_where_a_quarter_of_the_memory_holds_them(
    resident: Any, share: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = on_device(META, resident=resident)
    free(monkeypatch, data, share)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        assert {value.device for value in batch.values()} == {META if expected else torch.device("cpu")}
        assert batch["image"].shape[1:] == (1, 16, 16) and batch["image"].dtype == torch.uint8
    assert data.train_set.images.device.type == "cpu"  # type: ignore[attr-defined]


def test_the_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the batches of the second of two processes, from the position of a resumed run on."""
    asked = []
    store_type = type(on_device(META).train_set)

    def on(store: Any, device: torch.device) -> Any:
        asked.append(device)
        return store_type(store.images.clone(), store.labels)

    monkeypatch.setattr(store_type, "on", on)
    there, here = on_device(META, resident=True), on_device(META, resident=False)
    pairs = list(zip(there.train_dataloader(), here.train_dataloader(), strict=True))
    assert asked == [META] and len(pairs) == len(there.train_dataloader())
    for left, right in pairs:
        assert len(left["image"]) == 25
        assert all(torch.equal(left[name], right[name]) for name in right)


def test_a_cpu_has_them_already() -> None:
    data = on_device(torch.device("cpu"))
    assert data.residence(torch.device("cpu")) == (False, "the CPU has them")
    loader = data.train_dataloader()
    assert isinstance(loader, BatchLoader) and loader.store is data.train_set


def test_files_stay_files(tmp_path: Any) -> None:
    for i in range(8):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    data = DiffSet(
        "folder", data_dir=str(tmp_path), image_size=8, channels=1, batch_size=2, max_memory_gb=0, resident=True
    )
    data.setup()
    assert data.residence(META) == (False, "read file by file")


def test_the_free_memory_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason that a run shows is that of what it does, although memory fills up meanwhile."""
    data, asked = on_device(META), []
    needed = data.train_set.num_bytes + data.val_set.num_bytes

    def less_and_less(device: torch.device) -> float:
        asked.append(device)
        return 8 * needed if len(asked) == 1 else 0

    monkeypatch.setattr(residence_of, "free_memory", less_and_less)
    assert data.residence(META)[0]
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert next(iter(loader))["image"].device == META
    assert asked == [META]
