"""LabelConditioner: labels by number and by name."""

from __future__ import annotations

import pytest
import torch

from lightdiff.conditioning import LabelConditioner
from lightdiff.conditioning.base import label_choices
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate

NAMES = ["cat", "dog", "7"]


def choose(labels: object, class_names: list[str] | None = None) -> list[int]:
    return LabelConditioner(3, class_names=class_names).choose(labels=labels, prompt=None).tolist()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(None, [0, 1, 2]), ("dog", [1]), (["dog", 0, "7"], [1, 0, 2]), (1, [1]), (torch.tensor([2, 1]), [2, 1])],
)
def test_names_and_numbers(labels: object, expected: list[int]) -> None:
    assert choose(labels, NAMES) == expected


@pytest.mark.parametrize("labels", ["Dog", 7, -1, ["cat", 3], "", [], [True], [0.5], "2"])
def test_other_labels_are_refused_with_the_names(labels: object) -> None:
    with pytest.raises(ValueError, match=r"^labels=.*: choices: 0 cat, 1 dog, 2 7$"):
        choose(labels, NAMES)


def test_without_names_only_numbers_are_offered() -> None:
    with pytest.raises(ValueError, match=r"^labels=dog: choices: whole numbers in 0\.\.2$"):
        choose("dog")


def test_the_message_of_the_issue() -> None:
    with pytest.raises(ValueError, match=r"^labels=\[4\]: choices: 0 cat, 1 dog$"):
        LabelConditioner(2, class_names=["cat", "dog"]).choose(labels=[4], prompt=None)
    assert label_choices(3, ["cat"]) == "0 cat, 1, 2"
    assert label_choices(12, [str(number) for number in range(12)]) == "whole numbers in 0..11"


def test_a_message_does_not_list_a_thousand_names() -> None:
    assert len(label_choices(1000, [f"class {number}" for number in range(1000)])) < 500


def test_names_are_described_and_may_be_absent_from_a_description() -> None:
    described = config_of(LabelConditioner(3, class_names=NAMES))
    assert instantiate(described, importer=import_safe_target).class_names == NAMES
    del described["class_names"]
    assert instantiate(described, importer=import_safe_target).class_names is None


def test_more_names_than_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes=2: the data set has 3 classes"):
        LabelConditioner(2, class_names=NAMES)


def test_every_label_has_a_name_to_show() -> None:
    assert LabelConditioner(3, class_names=NAMES).names_of_labels == ("cat", "dog", "7")
    assert LabelConditioner(3, class_names=["cat"]).names_of_labels == ("cat", "1", "2")
    assert LabelConditioner(2).names_of_labels == ("0", "1")
