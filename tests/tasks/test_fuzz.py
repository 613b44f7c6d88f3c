"""Wrong values, misspelt keys and broken syntax, drawn for every key that the commands have: one line, code 2, no stack trace.

A drawn override may also be right: then the command must do its work. Training is only begun, which is where an ordinary run
has nothing left to refuse.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from conftest import COMMANDS
from lightdiff.lightning import DiffusionModel
from lightdiff.tasks import launch
from runs import ROOT, TINY, composed, tiny, train

CHATTER = ("GPU available", "TPU available", "HPU available", "💡")
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


class Begun(SystemExit):
    """The first batch of a training; ends the command as done."""


def begin(*args: Any, **kwargs: Any) -> None:
    raise Begun(0)


def job_here(executable: str, command: list[str], environment: dict[str, str]) -> None:
    """In place of the processes that several devices need: the same job in this one, up to the start of the others."""
    with mock.patch.object(sys, "argv", command[1:]), mock.patch.dict(os.environ, environment, clear=True):
        raise SystemExit(COMMANDS["train.py"](command[1]))


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Within, training ends at its first batch and no process is started."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(DiffusionModel, "training_step", begin))
        stack.enter_context(mock.patch.object(launch.os, "execve", job_here))
        for name in ("subprocess_script._SubprocessScriptLauncher", "multiprocessing._MultiProcessingLauncher"):
            stack.enter_context(mock.patch(f"pytorch_lightning.strategies.launchers.{name}.launch", begin))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def run(script: str, arguments: Sequence[str], folder: Path) -> CompletedProcess[str]:
    """The command in this process and in an empty working directory."""
    argv = [str(ROOT / script), *arguments]
    output, errors = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, before = list(root.handlers), Path.cwd()
    os.chdir(folder)
    try:
        with (
            harmless(),
            mock.patch.object(sys, "argv", [*argv]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            code = COMMANDS[script](argv[0])
    finally:
        os.chdir(before)
        root.handlers[:] = handlers
    return CompletedProcess(argv, code, output.getvalue(), errors.getvalue())


def told(done: CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(CHATTER)]


def check_refused(done: CompletedProcess[str], *named: str) -> None:
    """Code 2 and one line that names one of these."""
    lines = told(done)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert any(name in lines[0] for name in named), done.stderr


def check(script: str, base: Sequence[str], override: str, *named: str, may_be_right: bool = False) -> None:
    """Run it: refused without a trace of the run, or done."""
    with tempfile.TemporaryDirectory() as folder:
        done = run(script, [*base, override], Path(folder))
        if may_be_right and done.returncode == 0:
            assert "Traceback" not in done.stderr
            return
        check_refused(done, *named)
        assert [*Path(folder).glob("**/version_*")] == []


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
    fuzz(script, recipe, form.format(key), key.rpartition(".")[2], "nowhere.at_all")


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


TYPED = {
    "train.py trainer.max_epoch=3": "trainer.max_epoch: no such key; did you mean max_epochs?",
    "train.py schedule=liner": "schedule=liner: no such choice; did you mean linear?",
    "train.py seed": "seed: not understood; write key=value",
    "train.py dataset=digits optimizer.lr=fast": "optimizer.lr=fast: float is expected",
    "train.py dataset=digits trainer.devices=1000": "trainer.devices=1000: more than the 128 images of a batch",
    "train.py init_from=nowhere dataset=digits model=unet_small": "init_from=nowhere: no such checkpoint or run folder",
    "sample.py ckpt_path=nowhere": "ckpt_path=nowhere: no such checkpoint or run folder",
    "sample.py num_sample=3": "num_sample: no such key; did you mean num_samples?",
    "eval.py ckpt_path=nowhere num_samples=0": "num_samples=0: 1 or more is expected",
    "eval.py metrics=[fld]": "metrics=fld: no such choice; did you mean fid?",
}


def of_typed(typed: str, run: Callable[..., CompletedProcess[str]], folder: Path) -> None:
    script, *overrides = typed.split()
    check_refused(run(script, *overrides), f"error: {TYPED[typed]}")
    assert [*folder.glob("**/version_*")] == []


@pytest.mark.parametrize("typed", list(TYPED))
def test_a_mistake_on_the_command_line_is_one_line_and_code_2(
    typed: str, command: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    of_typed(typed, command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("typed", list(TYPED))
def test_a_mistake_ends_the_process_with_one_line_and_code_2(
    typed: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    of_typed(typed, run_script, tmp_path)
