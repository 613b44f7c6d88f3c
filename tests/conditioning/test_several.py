"""Conditioners: several conditions at once are joined, dropped one by one, and chosen together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightdiff.conditioning import Conditioners, LabelConditioner, SuperResolution, TextConditioner
from lightdiff.conditioning.several import joined
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate

NAMES = ["cat", "dog", "owl"]
B = 64
GENERATOR = torch.Generator().manual_seed(0)
BATCH = {
    "image": torch.randint(0, 256, (B, 1, 8, 8), dtype=torch.uint8, generator=GENERATOR),
    "label": torch.randint(0, 3, (B,), generator=GENERATOR),
}
CHANCE, DROP = torch.rand(2, B, generator=GENERATOR)


def label(**settings: Any) -> LabelConditioner:
    return LabelConditioner(3, 4, class_names=NAMES, **settings)


def text(**settings: Any) -> TextConditioner:
    return TextConditioner(NAMES, ["a {}", "one {} here"], token_dim=8, num_heads=2, depth=1, max_tokens=4, **settings)


def image(**settings: Any) -> SuperResolution:
    return SuperResolution(1, 8, factor=2, **settings)


def test_label_and_image_give_both_and_the_image_stays_when_guidance_drops_the_label() -> None:
    found = Conditioners({"first": label(drop_prob=0.5), "second": image()})
    assert (found.cond_keys, found.takes) == (("vector", "image"), ("labels", "condition"))
    assert (found.cond_dim, found.token_dim, found.image_channels, found.num_labels) == (4, None, 1, 3)
    inputs = found.inputs(BATCH, CHANCE)
    cond = found(inputs)
    assert torch.equal(cond["vector"], found.parts["first"].table(BATCH["label"]))
    assert torch.equal(cond["image"], inputs[1])
    null = found.unconditional(cond)
    assert torch.equal(null["vector"], found.parts["first"].null()["vector"].expand(B, 4))
    assert torch.equal(null["image"], cond["image"])


def test_each_drops_on_its_own() -> None:
    found = Conditioners([label(drop_prob=0.5), image(drop_prob=0.25)])
    drop = found.dropped(torch.rand(20_000, generator=torch.Generator().manual_seed(0)))
    assert drop.shape == (20_000, 2)
    shares = drop.double().mean(0).tolist()
    assert abs(shares[0] - 0.5) < 6 * 0.5 / 20_000**0.5
    assert abs(shares[1] - 0.25) < 6 * 0.433 / 20_000**0.5
    assert abs(drop.all(1).double().mean() - 0.125) < 6 * 0.331 / 20_000**0.5
    inputs, rows = found.inputs(BATCH, CHANCE), found.dropped(DROP)
    cond = found(inputs, rows)
    assert not cond["image"][rows[:, 1]].any()
    assert torch.equal(cond["image"][~rows[:, 1]], inputs[1][~rows[:, 1]])
    assert torch.equal(cond["vector"][rows[:, 0]], found.null()["vector"].expand(int(rows[:, 0].sum()), 4))


def test_a_row_is_the_same_in_any_share_of_the_batch() -> None:
    found = Conditioners([text(drop_prob=0.5), image(augmentation=0.5)]).eval()
    whole, drop = found.inputs(BATCH, CHANCE), found.dropped(DROP)
    for rank in range(3):
        own = found.inputs({name: value[rank::3] for name, value in BATCH.items()}, CHANCE[rank::3])
        assert all(torch.equal(part, of_whole[rank::3]) for part, of_whole in zip(own, whole, strict=True))
        assert torch.equal(found.dropped(DROP[rank::3]), drop[rank::3])


def test_vectors_are_added_and_tokens_joined() -> None:
    first, second = {"vector": torch.ones(1, 2)}, {"vector": torch.full((3, 2), 2.0), "tokens": torch.zeros(3, 4, 8)}
    third = {"tokens": torch.ones(1, 2, 8), "mask": torch.tensor([[1.0, 0.0]])}
    cond = joined([first, second, third])
    assert torch.equal(cond["vector"], torch.full((3, 2), 3.0))
    assert cond["tokens"].shape == (3, 6, 8)
    assert torch.equal(cond["mask"], torch.tensor([[1.0, 1, 1, 1, 1, 0]]).expand(3, 6))


def test_a_choice_of_a_batch_is_what_the_parts_would_be_asked_for() -> None:
    found = Conditioners([label(), image()])
    labels, condition = found.choice_of(BATCH, CHANCE)
    assert torch.equal(labels, BATCH["label"])
    assert torch.equal(condition, found.condition_of(BATCH, CHANCE))
    rows = found.inputs_of_rows((labels, condition), range(B), torch.device("cpu"))
    assert torch.equal(rows[1], found.inputs(BATCH, CHANCE)[1])


def test_a_wish_goes_to_those_that_take_it() -> None:
    found = Conditioners({"a": label(), "b": text(), "c": image()})
    small = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    labels, captions, condition = found.choose(labels=["owl", "cat"], prompt=None, condition=small)
    assert labels.tolist() == [2, 0]
    assert torch.equal(captions, torch.stack([found.parts["b"].ids_of(text) for text in ("a owl", "a cat")]))
    assert torch.equal(condition, small)
    labels, captions, _ = found.choose(labels=1, prompt="one owl here", condition=small)
    assert labels.tolist() == [1]
    assert torch.equal(captions[0], found.parts["b"].ids_of("one owl here"))
    rows = found.inputs_of_rows(
        found.choose(labels=None, prompt=None, condition=small), range(1, 5), torch.device("cpu")
    )
    assert rows[0].tolist() == [1, 2, 0, 1]
    assert rows[2].shape == (4, 1, 8, 8)


@pytest.mark.parametrize(
    ("parts", "wish", "message"),
    [
        (lambda: [label(), image()], {"prompt": "a cat"}, "prompt=a cat: this model knows no text"),
        (lambda: [image()], {"labels": 3}, "labels=3: this model knows no classes"),
        (lambda: [label(), image()], {"labels": "cow"}, "labels=cow: choices: 0 cat, 1 dog, 2 owl"),
        (lambda: [label(), image()], {}, "condition: images are needed"),
    ],
)
def test_other_wishes_are_refused_in_one_line(parts: Any, wish: dict[str, Any], message: str) -> None:
    condition = None if not wish else torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        Conditioners(parts()).choose(**{"labels": None, "prompt": None, "condition": condition, **wish})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda: [], "parts={}: at least one conditioner is expected"),
        (lambda: [image(), image()], "parts=0, 1: at most one of the conditioners may take images"),
        (
            lambda: {"a": label(), "b": LabelConditioner(3, 5)},
            "parts: cond_dim must be the same in all of them, but it is a 4, b 5",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_line(parts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Conditioners(parts())


def test_a_description_builds_an_equal_one() -> None:
    found = Conditioners([label(), image(augmentation=0.1)])
    again = instantiate(config_of(found), importer=import_safe_target)
    again.load_state_dict(found.state_dict())
    assert config_of(again) == config_of(found)
    assert found.same_inputs(again)
    assert not found.same_inputs(Conditioners([label(), image()]))
    assert found.class_names == NAMES


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_one_part_alone_gives_what_it_gives_by_itself() -> None:
    alone = label()
    together = Conditioners([alone])
    inputs = together.inputs(BATCH, CHANCE)
    assert equal(together(inputs), alone(inputs[0]))
    assert equal(together.null(), alone.null())
