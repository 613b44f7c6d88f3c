"""Captions made of the names of the classes: what batches have, and what it changes (nothing else)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lightdiff.config.build import build_data
from lightdiff.data import DiffSet
from lightdiff.jobs.summary import data_summary
from own_photos import write_photos
from runs import tiny, train

TEMPLATES = ["a {}", "the digit {}", "{}"]


def digits(**settings: Any) -> DiffSet:
    data = DiffSet("digits", batch_size=16, **settings)
    data.setup()
    return data


def test_a_batch_has_the_captions_of_its_classes() -> None:
    data, plain = (digits(templates=templates, image_size=8) for templates in (TEMPLATES, None))
    assert "caption" not in plain.train_set[[0]]
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))):
        assert len(batch["caption"]) == len(batch["image"])
        for text, label in zip(batch["caption"], batch["label"].tolist(), strict=True):
            assert text in {template.format(label) for template in TEMPLATES}
    labels = plain.train_set.labels
    assert data.train_set[[4, 3]]["caption"] == [f"the digit {labels[4]}", f"a {labels[3]}"]
    # nothing else changes
    for one, other in zip(data.train_dataloader(), plain.train_dataloader(), strict=True):
        assert torch.equal(one["image"], other["image"]) and torch.equal(one["label"], other["label"])
    assert data.train_set.fingerprint == plain.train_set.fingerprint
    assert data.facts == plain.facts
    assert "captions" not in data_summary(data)


def test_captions_call_the_classes_by_the_names_of_the_configuration() -> None:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    data = digits(templates=["a {}"], class_names=names)
    batch = data.val_set[range(5)]
    assert batch["caption"] == [f"a {names[label]}" for label in batch["label"].tolist()]


@pytest.mark.parametrize("settings", [{}, {"max_memory_gb": 0}, {"max_memory_gb": 0, "num_workers": 1}])
def test_captions_of_files_and_those_of_their_own(settings: dict[str, Any], tmp_path: Path) -> None:
    write_photos(tmp_path)
    place = {"data_dir": str(tmp_path), "image_size": 8, "batch_size": 5, "templates": ["a {} photo"], **settings}
    data = DiffSet("folder", **place)
    data.setup()
    for batch in data.val_dataloader():
        assert batch["caption"] == [f"a {data.class_names[label]} photo" for label in batch["label"].tolist()]
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("*/*.png"))
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,text", *(f"{file},own" for file in files)]))
    data = DiffSet("folder", **place)
    data.setup()
    assert set(data.train_set[range(4)]["caption"]) == {"own"}


def test_a_template_without_a_place_for_the_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^templates='a digit': a text with one {} for the class is expected$"):
        digits(templates=["a digit"])


TEXT = (
    "conditioning=text_small",
    "model=resunet",
    "model.widths=[8]",
    "model.num_heads=2",
    "model.attention_levels=[0]",
)


def test_models_that_read_captions_get_them_and_others_do_not() -> None:
    both = ("conditioning=both", "conditioning@conditioning.parts.first=text_small", *TEXT[1:])
    for settings, expected in ((TEXT, True), (both, True), (("conditioning=label",), False)):
        data = build_data(tiny(*settings))
        data.setup()
        assert ("caption" in data.train_set[[0]]) == expected, settings


def test_training_does_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny(*TEXT, "trainer.max_steps=2", "dataset.templates=['a {}','the digit {}']")
    found = train(settings, tmp_path / "with")["state_dict"]
    monkeypatch.setattr("lightdiff.data.sources.base.Splits.captioned", lambda splits, *_: splits)
    expected = train(settings, tmp_path / "without")["state_dict"]
    weights = {name: value for name, value in expected.items() if isinstance(value, torch.Tensor)}
    assert weights and all(torch.equal(found[name], value) for name, value in weights.items())
