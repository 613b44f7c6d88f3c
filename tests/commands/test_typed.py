"""Usual mistakes on the command line: one line that names key, value and choices, and code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from refusals import check_refused

TYPED = {
    "train.py trainer.max_epoch=3": "trainer.max_epoch: no such key; did you mean max_epochs?",
    "train.py schedule=liner": "schedule=liner: no such choice; did you mean linear?",
    "train.py seed": "seed: not understood; write key=value",
    "train.py dataset=digits optimizer.lr=fast": "optimizer.lr=fast: float is expected",
    "train.py dataset=digits trainer.devices=1000": "trainer.devices=1000: more than the 128 images of a batch",
    "train.py init_from=nowhere dataset=digits model=unet_small": "init_from=nowhere: no such checkpoint or run folder",
    "train.py lr=0.1": "lr: no such key; did you mean optimizer.lr?",
    "train.py batch_size=32": "batch_size: no such key; did you mean dataset.batch_size?",
    "train.py max_epochs=3": "max_epochs: no such key; did you mean trainer.max_epochs?",
    "train.py num_steps=3": "num_steps: no such key; did you mean sampler.num_steps?",
    "train.py .": ".: a key is missing in front of this path; write resume=.",
    "train.py dataset=digits trainer=gpu": "trainer.accelerator=gpu: torch finds no such device here; choices: trainer=cpu",
    "train.py --resume=x": "--resume=x: no such flag; settings are written key=value",
    "train.py dataset=digits dataset.val_fraction=0": "dataset.val_fraction: no such key; did you mean dataset.source.",
    "train.py dataset.source.batch_size=8": "dataset.source.batch_size: no such key; did you mean dataset.batch_size?",
    "train.py trainer.seed=8": "trainer.seed: no such key; did you mean seed or dataset.seed?",
    "train.py datset.batch_size=8": "datset.batch_size: no such key; did you mean dataset.batch_size?",
    "train.py datset.shuffle=8": "datset: no such key; did you mean dataset?",
    "train.py dataset=mnist,cifar": (
        "dataset=mnist,cifar: several values are a sweep, which needs -m; one list is written 'dataset=[mnist,cifar]', one text "
        "'dataset=\"mnist,cifar\"'"
    ),
    "sample.py ckpt_path={run": "ckpt_path={run: not understood; if {run is meant as text, write 'ckpt_path=\"{run\"'",
    "sample.py ckpt_path=run's": "ckpt_path=run's: not understood; if run's is meant as text, write 'ckpt_path=\"run'\"'\"'s\"'",
    "sample.py ckpt_path=ü(1)#=~": "ckpt_path=ü(1)#=~: no such checkpoint or run folder",
    "sample.py runs/ü.ckpt": "runs/ü.ckpt: a key is missing in front of this path; write 'ckpt_path=\"runs/ü.ckpt\"'",
    "train.py resume=lr=0.1": "resume=lr=0.1: no such run folder or checkpoint",
    "train.py dataset=digits hydra.run.dir=/dev/null/x": "hydra.run.dir: no folder can be made at /dev/null/x (Not a directory)",
    "train.py --cfg jop": "--cfg jop: choices: job, hydra, all",
    "sample.py somewhere": "somewhere: a key is missing in front of this path; write ckpt_path=somewhere",
    "sample.py runs/last.ckpt": "runs/last.ckpt: a key is missing in front of this path; write ckpt_path=runs/last.ckpt",
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


@pytest.mark.parametrize("content", [b"a: [1\n", b"# \xfc\nseed: 3\n"])
def test_a_file_of_ones_own_that_is_no_yaml_is_one_line(
    content: bytes, command: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_bytes(content)
    done = command("train.py", "--config-dir", "own", "experiment=mine")
    check_refused(done, f"error: --config-dir {tmp_path / 'own'}: a file is not valid YAML (")
