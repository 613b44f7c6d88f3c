"""Every field of a checkpoint in turn is taken out or becomes something else: refused in one line, or a run that goes on."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from garbled import VALUES, change, copied, files_of, paths, trained_run
from hostile import refused

Command = Callable[..., CompletedProcess[str]]
RUN = Path("lightning_logs/digits/version_0")
RESUME = (f"resume={RUN}", "trainer.max_epochs=2")
OFTEN = {"state_dict": 6, "optimizer_states": 30, "lightdiff": 40}
"""Most fields of a part that has many alike."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("run") / "version_0")


def cases(trained: Path) -> list[tuple[tuple[Any, ...], str]]:
    """Fields and the names of what they are changed to, in an order that is always the same and mixes all parts."""
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    draw = random.Random(0)
    fields: list[tuple[Any, ...]] = []
    for part in content:
        of_part = list(paths({part: content[part]}))
        fields += of_part[:1] + draw.sample(of_part[1:], min(len(of_part) - 1, OFTEN.get(part, len(of_part))))
    found = [(field, value) for field in fields for value in VALUES]
    draw.shuffle(found)
    return found


def tried(field: tuple[Any, ...], value: str, trained: Path, folder: Path, command: Command) -> str | None:
    """Resume from the changed checkpoint; return what went wrong, or None."""
    run = copied(trained, folder)
    change(run, field, VALUES[value])
    before = files_of(run)
    done = command("train.py", *RESUME)
    lines = done.stderr.strip().splitlines()
    kept = files_of(run) == before
    shutil.rmtree(run.parent.parent)
    if (done.returncode == 0 and not lines) or (
        done.returncode == 2 and len(lines) == 1 and str(RUN) in lines[0] and kept
    ):
        return None
    return f"{field} {value}: {done.returncode}, {'kept' if kept else 'changed'}, {lines[-1:]}"


def wrong(count: int | None, trained: Path, folder: Path, command: Command) -> list[str]:
    found = [tried(*case, trained, folder, command) for case in cases(trained)[:count]]
    return [line for line in found if line is not None]


@pytest.mark.filterwarnings("ignore")
def test_some_changed_fields_are_refused_or_make_no_difference(trained: Path, tmp_path: Path, command: Command) -> None:
    assert wrong(16, trained, tmp_path, command) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_all_changed_fields_are_refused_or_make_no_difference(trained: Path, tmp_path: Path, command: Command) -> None:
    assert wrong(None, trained, tmp_path, command) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value"), [("loops", "text"), ("optimizer_states", "list"), ("pytorch-lightning_version", "missing")]
)
def test_the_real_command_refuses(
    field: str, value: str, trained: Path, tmp_path: Path, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    run = copied(trained, tmp_path)
    change(run, (field,), VALUES[value])
    before = files_of(run)
    refused(run_script("train.py", *RESUME), f"resume={RUN}/checkpoints/last.ckpt: {field}")
    assert files_of(run) == before


MODEL_FIELDS = (
    "network",
    "schedule",
    "objective",
    "conditioning",
    "codec",
    "prediction",
    "image_shape",
    "seed",
    "time_input",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_model_is_refused_or_draws(trained: Path, tmp_path: Path, command: Command) -> None:
    run = copied(trained, tmp_path)
    whole = (run / "checkpoints" / "last.ckpt").read_bytes()
    odd = []
    for i, field in enumerate(MODEL_FIELDS):
        for value in list(VALUES)[i % 2 :: 2]:
            change(run, ("lightdiff", "model", field), VALUES[value])
            done = command("sample.py", f"ckpt_path={RUN}", "num_samples=1", "sampler.num_steps=1", "save=grid")
            lines = done.stderr.strip().splitlines()
            if not (
                done.returncode == 0 or (done.returncode == 2 and len(lines) == 1 and f"ckpt_path={RUN}" in lines[0])
            ):
                odd.append((field, value, done.returncode, lines[-1:]))
            (run / "checkpoints" / "last.ckpt").write_bytes(whole)
    assert odd == []
