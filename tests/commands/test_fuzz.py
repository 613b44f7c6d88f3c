"""Wrong values, misspelt keys and broken syntax, drawn for every key that the commands have: one line, code 2, no stack trace.

A drawn override may also be right: then the command must do its work. Training is only begun, which is where an ordinary run
has nothing left to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from refusals import check
from runs import ROOT, TINY, composed, tiny, train

HUGE = "1000000000000000000"
"""Memory of this size is refused at once, not taken."""
VALUES = (
    *("wrong", "''", "null", "true", "[1,2]", "[]", "{a: 1}", "'größer 大'", "/dev/null/nowhere", "nowhere.nothing"),
    *("0", "-3", "0.5", "-0.5", "nan", "inf", HUGE),
)
ENDLESS = {("num_samples", HUGE), ("num_steps", "null"), ("blocks_per_level", HUGE)}
"""Values as right as others, which only take for ever."""
Fuzz = Callable[..., None]
RECIPES: dict[str, tuple[str, ...]] = {
    "as tests train": (),
    "flow by label": (
        *("schedule=flow", "objective=flow", "sampler=heun", "conditioning=label", "optimizer=adamw"),
        *("lr_scheduler=cosine", "callbacks=evaluation", "logger=csv"),
    ),
    "residual, cosine, min-SNR": (
        *("model=resunet", "model.widths=[8]", "model.attention_levels=[]", "schedule=cosine", "objective=min_snr"),
        *("sampler=dpmpp_2m", "callbacks=predictions", "objective/distance=huber", "trainer=debug"),
    ),
}
"""Training overrides beside `TINY`: together they have the keys of most classes."""
SAMPLING = ("num_samples=2", "sampler.num_steps=2", "progress=false", "save=[grid,gif]")
EVALUATING = ("num_samples=4", "sampler.num_steps=2", "progress=false")


def leaves(config: dict[str, Any], key: str = "") -> Iterator[str]:
    """Dotted keys of everything that is no mapping, or an empty one."""
    for name, value in config.items():
        place = f"{key}.{name}" if key else name
        if isinstance(value, dict) and value:
            yield from leaves(value, place)
        else:
            yield place


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("run") / "digits" / "version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples"), folder)
    return folder


def base_of(script: str, recipe: str, run_folder: Path) -> tuple[str, ...]:
    """What stands on the command line beside a drawn override."""
    if script == "train.py":
        return (*TINY, *RECIPES[recipe])
    given = (f"ckpt_path={run_folder}",)
    if script == "sample.py":
        return (*given, *SAMPLING)
    return (*given, f"cache_dir={run_folder.parent}/reference", *EVALUATING)


@cache
def keys_of(script: str, recipe: str) -> list[str]:
    """Every key that the configuration has."""
    return list(leaves(composed(*base_of(script, recipe, Path("run")), name=script.removesuffix(".py"))))


SCRIPTS = st.sampled_from(["train.py", "train.py", "sample.py", "eval.py"])  # training has the most keys


@st.composite
def places(draw: st.DrawFn) -> tuple[str, str, str]:
    """A script, one of its recipes, and a key."""
    script, recipe = draw(SCRIPTS), draw(st.sampled_from(list(RECIPES)))
    return script, recipe, draw(st.sampled_from(keys_of(script, recipe)))


@st.composite
def wrong_values(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """A place and a value for it, hardly ever a fitting one."""
    script, recipe, key = draw(places())
    last = key.rpartition(".")[2]
    value = draw(st.sampled_from([value for value in VALUES if (last, value) not in ENDLESS]))
    return script, recipe, key, value


@st.composite
def misspelt(draw: st.DrawFn, word: str) -> str:
    """The word without a letter, with two of them swapped, or with one more."""
    i = draw(st.integers(0, len(word) - 1))
    return draw(
        st.sampled_from(
            [word[:i] + word[i + 1 :], word[:i] + word[i : i + 2][::-1] + word[i + 2 :], f"{word[:i]}q{word[i:]}"]
        )
    )


@st.composite
def misspelt_keys(draw: st.DrawFn) -> tuple[str, str, str]:
    """A script, its recipe, and a key that it does not have."""
    script, recipe, key = draw(places())
    parts = key.split(".")
    i = draw(st.integers(0, len(parts) - 1))
    parts[i] = draw(misspelt(parts[i]))
    wrong = ".".join(parts)
    assume("" not in parts and not any(f"{key}.".startswith(f"{wrong}.") for key in keys_of(script, recipe)))
    return script, recipe, wrong


GROUPS = {
    "train.py": [
        *("dataset", "model", "schedule", "objective", "sampler", "conditioning", "optimizer", "lr_scheduler"),
        *("trainer", "callbacks", "logger", "experiment", "hparams_search", "objective/weighting", "sampler/grid"),
    ],
    "sample.py": ["sampler", "sampler/grid"],
    "eval.py": ["sampler", "extractor", "metrics", "dataset"],
}


@st.composite
def misspelt_choices(draw: st.DrawFn) -> tuple[str, str, str]:
    """A script, a group of it, and a choice that the group does not have."""
    script = draw(SCRIPTS)
    group = draw(st.sampled_from(GROUPS[script]))
    choices = sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
    wrong = draw(misspelt(draw(st.sampled_from(choices))))
    assume(wrong and wrong not in choices)
    return script, group, wrong


BROKEN = (
    "{}",
    "{}=[1",
    "{}={{a",
    "{}='x",
    "{}=1,2",
    "{}=${{nowhere.at_all}}",
    "{}=???",
    "{}==[",
    "={}",
    "~~{}=3",
    "+{}=3",
)
"""Ways to spoil what stands around a key."""


@pytest.fixture(scope="module")
def fuzz(trained: Path) -> Fuzz:
    """Checks one drawn override."""

    def one(script: str, recipe: str, override: str, *named: str, may_be_right: bool = False) -> None:
        check(script, base_of(script, recipe, trained), override, *named, may_be_right=may_be_right)

    return one


def few(number: int) -> Callable[[Any], Any]:
    """The same examples every time."""
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def of_values(fuzz: Fuzz, drawn: tuple[str, str, str, str]) -> None:
    script, recipe, key, value = drawn
    note(f"{script}, {recipe}: {key}={value}")
    group, _, last = key.rpartition(".")  # the group where two of its settings do not fit one another
    fuzz(script, recipe, f"{key}={value}", last, *([f"error: {group}"] if group else []), may_be_right=True)


def of_keys(fuzz: Fuzz, drawn: tuple[str, str, str]) -> None:
    script, recipe, key = drawn
    note(f"{script}, {recipe}: {key}=3")
    fuzz(script, recipe, f"{key}=3", f"error: {key}: no such key")


def of_choices(fuzz: Fuzz, drawn: tuple[str, str, str]) -> None:
    script, group, choice = drawn
    note(f"{script}: {group}={choice}")
    fuzz(script, "as tests train", f"{group}={choice}", f"error: {group}={choice}: no such choice; ")


def of_syntax(fuzz: Fuzz, drawn: tuple[str, str, str], form: str) -> None:
    script, recipe, key = drawn
    note(f"{script}, {recipe}: {form.format(key)}")
    appends = form.startswith("+")  # Hydra takes it for the key itself where that is null
    fuzz(script, recipe, form.format(key), key.rpartition(".")[2], "nowhere.at_all", may_be_right=appends)


@few(24)
@given(drawn=wrong_values())
def test_a_wrong_value_is_refused_by_its_key(fuzz: Fuzz, drawn: tuple[str, str, str, str]) -> None:
    of_values(fuzz, drawn)


@few(6)
@given(drawn=misspelt_keys())
def test_a_misspelt_key_is_refused(fuzz: Fuzz, drawn: tuple[str, str, str]) -> None:
    of_keys(fuzz, drawn)


@few(4)
@given(drawn=misspelt_choices())
def test_a_misspelt_choice_is_refused(fuzz: Fuzz, drawn: tuple[str, str, str]) -> None:
    of_choices(fuzz, drawn)


@few(6)
@given(drawn=places(), form=st.sampled_from(BROKEN))
def test_broken_syntax_is_refused(fuzz: Fuzz, drawn: tuple[str, str, str], form: str) -> None:
    of_syntax(fuzz, drawn, form)


@pytest.mark.slow
@few(600)
@given(drawn=wrong_values())
def test_many_wrong_values_are_refused_by_their_keys(fuzz: Fuzz, drawn: tuple[str, str, str, str]) -> None:
    of_values(fuzz, drawn)


@pytest.mark.slow
@few(100)
@given(drawn=misspelt_keys())
def test_many_misspelt_keys_are_refused(fuzz: Fuzz, drawn: tuple[str, str, str]) -> None:
    of_keys(fuzz, drawn)


@pytest.mark.slow
@few(50)
@given(drawn=misspelt_choices())
def test_many_misspelt_choices_are_refused(fuzz: Fuzz, drawn: tuple[str, str, str]) -> None:
    of_choices(fuzz, drawn)


@pytest.mark.slow
@few(100)
@given(drawn=places(), form=st.sampled_from(BROKEN))
def test_much_broken_syntax_is_refused(fuzz: Fuzz, drawn: tuple[str, str, str], form: str) -> None:
    of_syntax(fuzz, drawn, form)
