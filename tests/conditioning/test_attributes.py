"""Attributes: one vector for each column, and further numbers from the chance of an image."""

from __future__ import annotations

import pytest
import torch

from lightdiff.conditioning import AttributeConditioner
from lightdiff.conditioning.chance import numbers_of
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate

COLUMNS = {"category": ["animals", "flags", "food"], "tone": ["cold", "warm"]}


def conditioner(**settings) -> AttributeConditioner:
    torch.manual_seed(0)
    return AttributeConditioner(COLUMNS, **{"cond_dim": 8, "column_drop_prob": 0.0, **settings})


def batch(category: list[int], tone: list[int]) -> dict:
    columns = {"category": torch.tensor(category), "tone": torch.tensor(tone)}
    return {"image": torch.zeros(len(category), 1, 4, 4), "columns": columns}


def test_the_vector_is_the_sum_over_the_columns() -> None:
    attributes = conditioner()
    first, second = (table.weight for table in attributes.tables)
    vector = attributes(attributes.inputs(batch([2, 0, -1], [1, -1, -1]), torch.zeros(3)))["vector"]
    # the last row of each table is that of no value
    expected = [first[2] + second[1], first[0] + second[2], first[3] + second[2]]
    torch.testing.assert_close(vector, torch.stack(expected))
    torch.testing.assert_close(attributes.null()["vector"], expected[2][None])


def test_dropped_rows_lose_all_columns() -> None:
    attributes = conditioner(drop_prob=0.25)
    inputs = attributes.inputs(batch([1, 1], [0, 0]), torch.zeros(2))
    dropped = attributes.dropped(torch.tensor([0.1, 0.3]))
    vector = attributes(inputs, dropped)["vector"]
    torch.testing.assert_close(vector[:1], attributes.null()["vector"])
    torch.testing.assert_close(vector[1:], attributes(inputs[1:])["vector"])


def test_each_column_is_dropped_on_its_own_and_by_chance_alone() -> None:
    attributes = conditioner(column_drop_prob=0.3)
    chance = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    inputs = attributes.inputs(batch([0] * 20_000, [0] * 20_000), chance)
    gone = (inputs == -1).double()
    # 4 standard deviations
    assert (gone.mean(0) - 0.3).abs().max() < 4 * (0.21 / 20_000) ** 0.5
    assert abs((gone[:, 0] * gone[:, 1]).mean().item() - 0.09) < 4 * (0.0819 / 20_000) ** 0.5
    assert torch.equal(attributes.inputs(batch([0] * 10, [0] * 10), chance[5:15]), inputs[5:15])


def test_further_numbers_are_uniform_and_independent() -> None:
    chance = torch.rand(50_000, generator=torch.Generator().manual_seed(1))
    numbers = numbers_of(chance, 4)
    assert numbers.shape == (50_000, 4) and numbers.min() >= 0 and numbers.max() < 1
    assert (numbers.double().mean(0) - 0.5).abs().max() < 4 * (1 / 12 / 50_000) ** 0.5
    together = torch.corrcoef(torch.cat([numbers, chance[:, None]], dim=1).T.double())
    assert (together - torch.eye(5)).abs().max() < 4 / 50_000**0.5
    assert numbers_of(chance[:3], 0).shape == (3, 0)


def test_samples_are_asked_for_by_names_or_numbers_of_some_columns() -> None:
    attributes = conditioner()
    wish = {"category": "food", "tone": 0}
    assert attributes.choose(labels=wish, prompt=None).tolist() == [[2, 0]]
    assert attributes.choose(labels={"tone": "warm"}, prompt=None).tolist() == [[-1, 1]]
    assert attributes.choose(labels=[wish, {"category": None}], prompt=None).tolist() == [[2, 0], [-1, -1]]
    assert attributes.choose(labels=None, prompt=None).tolist() == [[0, -1], [1, -1], [2, -1]]
    assert attributes.takes == ("labels",) and not attributes.by_class


def test_what_is_asked_for_like_a_batch_has_all_of_its_columns() -> None:
    attributes, like = conditioner(column_drop_prob=1.0), batch([2, 0, -1], [1, -1, -1])
    assert attributes.choice_of(like, torch.zeros(3)).tolist() == [[2, 1], [0, -1], [-1, -1]]
    assert attributes.inputs(like, torch.zeros(3)).tolist() == [[-1, -1]] * 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"category": "food ", "tone": 0}, r"^labels\.category=food : choices: 0 animals, 1 flags, 2 food$"),
        ({"tone": 2}, r"^labels\.tone=2: choices: 0 cold, 1 warm$"),
        ({"tone": True}, r"^labels\.tone=True"),
        ({"tome": 1}, r"^labels\.tome: no such column; .*labels=\{category: \.\.\.\}: category, tone$"),
        (3, r"^labels=3: a value of some of these columns is expected"),
        ("food", r"^labels=food"),
        ([], r"^labels=\[\]"),
    ],
)
def test_wishes_that_cannot_be_had(labels: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditioner().choose(labels=labels, prompt=None)


def test_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^prompt=food: this model knows attributes, not text"):
        conditioner().choose(labels=None, prompt="food")


@pytest.mark.parametrize("columns", [None, {}, {"tone": []}, ["tone"]])
def test_columns_are_needed(columns: object) -> None:
    with pytest.raises(ValueError, match=r"^columns=.*: a data set with columns is needed"):
        AttributeConditioner(columns)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": None}, r"^columns\.category=NoneType: whole numbers of the shape \(2,\)"),
        ({"columns": {"category": torch.zeros(2).long()}}, r"^columns\.tone=NoneType"),
        (
            {"columns": {"category": torch.tensor([0, 3])}},
            r"^columns\.category=0\.\.3: the model has the values -1\.\.2$",
        ),
        ({"columns": {"category": torch.zeros(3).long()}}, r"^columns\.category=\(3,\): whole numbers"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditioner().check({**batch([0, 0], [0, 0]), **changed})


def test_its_description_builds_it_again() -> None:
    attributes = conditioner()
    again = instantiate(config_of(attributes), importer=import_safe_target)
    again.load_state_dict(attributes.state_dict())
    assert torch.equal(again.null()["vector"], attributes.null()["vector"])
