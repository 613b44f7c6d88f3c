"""Structures of plain data: what fits, and the one line for what does not."""

from __future__ import annotations

from typing import Any

import pytest

from lightdiff.utils.structure import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    FINITE,
    MAPPING,
    NUMBER,
    TEXT,
    Every,
    Items,
    Keys,
    Misfit,
    Nullable,
    Optional,
    Pair,
    alike,
)

SHAPE = Keys({"a-b": COUNT}, c=Optional(Every(Items(FINITE, length=2))), d=Nullable(TEXT))
GOOD = {"a-b": 3, "c": {"x": [1, 2.5]}, "d": None, "more": object()}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"a-b": -1}, "a-b=-1: a whole number, 0 or more, is expected"),
    ({"a-b": True}, "a-b=True: a whole number, 0 or more, is expected"),
    ({"a-b": 2**60}, "a-b=1152921504606846976: a whole number, 0 or more, is expected"),
    ({"a-b": 1.0}, "a-b=1.0: a whole number, 0 or more, is expected"),
    ({"c": None}, "c=null: a mapping is expected"),
    ({"c": {1: [1, 2]}}, "c.a name=1: text is expected"),
    ({"c": {"x": [1]}}, "c.x: it has 1 entries, 2 are expected"),
    ({"c": {"x": "ab"}}, "c.x=ab: a list is expected"),
    ({"c": {"x": [1, float("inf")]}}, "c.x[1]=inf: a finite number is expected"),
    ({"c": {"x": [1, 10**400]}}, "c.x[1]=1" + "0" * 56 + "...: a finite number is expected"),
    ({"d": []}, "d: list found: text is expected"),
]


def test_what_is_as_described_fits() -> None:
    SHAPE.check(GOOD)
    SHAPE.check({"a-b": 0, "d": "text"})
    assert SHAPE.fits(GOOD) and not SHAPE.fits({})


@pytest.mark.parametrize(("changed", "message"), WRONG, ids=[message for _, message in WRONG])
def test_the_first_misfit_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(Misfit) as caught:
        SHAPE.check({**GOOD, **changed})
    assert str(caught.value) == message


def test_a_missing_key_is_named_with_its_path() -> None:
    with pytest.raises(Misfit, match=r"^run\.a-b: missing$"):
        SHAPE.check({"d": None}, "run")
    with pytest.raises(Misfit, match=r"^list found: a mapping is expected$"):
        SHAPE.check([])


def test_pairs() -> None:
    pairs = Items(Pair(COUNT, NUMBER))
    pairs.check([[1, float("nan")], (2, 3)])
    for wrong in ([[1]], [[1.5, 2]], [[1, "x"]], [3]):
        assert not pairs.fits(wrong)


def test_data_like_a_template() -> None:
    template = {"count": 1, "on": False, "rate": 0.5, "name": "a", "rows": [{"n": 1}], "empty": [], "none": None}
    structure = alike(template)
    structure.check({**template, "count": 9, "on": True, "rate": 2, "rows": [{"n": 2}], "empty": [1], "none": "any"})
    for name, wrong in {"count": -1, "on": 1, "rate": "x", "name": None, "rows": [{"n": None}], "empty": {}}.items():
        assert not structure.fits({**template, name: wrong})
    assert not structure.fits({**template, "rows": []}) and not structure.fits({"count": 1})


def test_words() -> None:
    assert BOOLEAN.fits(False) and not BOOLEAN.fits(0)
    assert MAPPING.fits({}) and not MAPPING.fits([])
    assert ANYTHING.fits(None)
