"""Batches of any loader: what is taken, what it becomes, and what is refused at the first batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightdiff import DiffusionModel
from lightdiff.conditioning import LabelConditioner, TextConditioner
from lightdiff.core import DiscreteSchedule, linear_betas
from lightdiff.networks import UNet

SHAPE = (8, 1, 16, 16)
PIXELS = torch.randint(0, 256, SHAPE, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3


class Rows(Dataset):
    """Gives part i of every tensor of a batch, so that a loader without a collate function gives the batch again."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> Any:
        return self.batch


class Recorder(DiffusionModel):
    """Keeps the x0 that the network is trained on."""

    def encode(self, images: Tensor) -> Tensor:
        self.x0 = super().encode(images)
        return self.x0


def build(conditional: bool = False) -> Recorder:
    torch.manual_seed(0)
    network = UNet(image_size=16, widths=(8, 16), attention_levels=(), cond_dim=8 if conditional else None)
    conditioning = LabelConditioner(3, cond_dim=8) if conditional else None
    return Recorder(network, DiscreteSchedule(linear_betas(50)), conditioning=conditioning)


def fit(model: DiffusionModel, *batches: Any, validated: Any = None) -> None:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )

    def loader(*batches: Any) -> DataLoader:
        return DataLoader(torch.utils.data.ConcatDataset([Rows(batch) for batch in batches]), batch_size=None)

    trainer.fit(model, loader(*batches), loader(batches[0] if validated is None else validated))


@pytest.mark.parametrize(
    "batch",
    [
        {"image": PIXELS},
        {"image": PIXELS / 255},
        {"image": (PIXELS / 255).double()},
        (PIXELS / 255, LABELS),
        [PIXELS, LABELS],
        (PIXELS,),
        PIXELS / 255,
    ],
    ids=["dict", "floats", "doubles", "tuple", "list", "one", "alone"],
)
def test_every_kind_of_batch_trains_on_the_same_images(batch: Any) -> None:
    model = build()
    fit(model, batch)
    expected = PIXELS.double() / 127.5 - 1
    torch.testing.assert_close(model.x0.double(), expected, atol=1e-6, rtol=0)


def test_a_tuple_gives_the_conditioner_its_labels() -> None:
    weights = []
    for batch in ({"image": PIXELS, "label": LABELS}, (PIXELS, LABELS), (PIXELS, LABELS.byte())):
        model = build(conditional=True)
        fit(model, batch)
        weights.append(model.conditioning.table.weight)
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"image": PIXELS / 127.5 - 1}, r"image=-1\.\.1: uint8 in 0\.\.255 or floats in \[0, 1\] are expected"),
        ({"image": PIXELS.float()}, r"image=0\.\.255: uint8 in 0\.\.255 or floats in \[0, 1\]"),
        ({"image": torch.full(SHAPE, float("nan"))}, r"image=nan\.\.nan"),
        ({"image": PIXELS.long()}, r"image=int64: uint8"),
        ({"image": PIXELS.permute(0, 2, 3, 1)}, r"image=\(8, 16, 16, 1\).*\(B, 1, 16, 16\).*permute\(0, 3, 1, 2\)"),
        ({"image": PIXELS.expand(-1, 3, -1, -1)}, r"image=\(8, 3, 16, 16\): the shape \(B, 1, 16, 16\)"),
        ({"image": PIXELS[..., :14]}, r"image=\(8, 1, 16, 14\): the shape \(B, 1, 16, 16\)"),
        ({"image": PIXELS[:, 0]}, r"image=\(8, 16, 16\): the shape \(B, 1, 16, 16\)"),
        ({"image": "a"}, r"image=str: a tensor is expected"),
        ({"pixels": PIXELS, "label": LABELS}, r"batch=a dict with pixels, label: a dict with image"),
        ((PIXELS, LABELS, LABELS), r"batch=(tuple|list) of 3: "),
        ("a", r"batch=str: "),
    ],
)
def test_images_that_would_train_something_else_are_refused(batch: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(build(), batch)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"label=None: LabelConditioner needs the labels of the images"),
        (LABELS + 1, r"label=1\.\.3: the model has the labels 0\.\.2"),
        (LABELS - 1, r"label=-1\.\.1: the model has the labels 0\.\.2"),
        (LABELS.float(), r"label=float32 \(8,\): whole numbers of the shape \(8,\)"),
        (torch.eye(8, 3).long(), r"label=int64 \(8, 3\): whole numbers of the shape \(8,\)"),
        (LABELS[:7], r"label=int64 \(7,\)"),
        (["red"] * 8, r"label=list: a tensor is expected"),
    ],
)
def test_labels_that_the_conditioner_cannot_use_are_refused(labels: Any, message: str) -> None:
    batch = (PIXELS,) if labels is None else (PIXELS, labels)
    with pytest.raises(ValueError, match=message):
        fit(build(conditional=True), batch)


def test_captions_need_a_label_for_which_there_is_a_class_name() -> None:
    assert TextConditioner(["red", "blue"], ["{}"]).num_labels == 2


def test_validation_images_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"image=-1\.\.1"):
        fit(build(), PIXELS, validated=PIXELS / 127.5 - 1)


def test_only_the_first_batch_of_each_run_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    monkeypatch.setattr("lightdiff.model.model.check_batch", lambda batch, *_: checked.append(len(batch["image"])))
    model = build()
    fit(model, PIXELS[:5], PIXELS[:6], PIXELS[:7])
    assert checked == [5, 5]  # to train on and to validate on
    fit(model, PIXELS[:4])
    assert checked == [5, 5, 4, 4]
