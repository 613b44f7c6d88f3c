"""What a user sees who has the base installation only: optional packages are switched off in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightdiff.config import extras
from lightdiff.config.extras import EXTRAS, MissingExtra, missing_extra, require
from runs import ROOT, TINY
from waiting import PATIENCE

Run = Callable[..., subprocess.CompletedProcess[str]]
SHIPPED = ROOT / "models" / "mnist_fast"
OPTIONAL = [module for modules in EXTRAS.values() for module in modules if "." not in module]
WANTED = {
    "train.py dataset=huggingface": ("dataset=huggingface", "huggingface"),
    "train.py dataset=digits model=diffusers_unet": ("model=diffusers_unet", "diffusers"),
    "train.py dataset=digits model=diffusers_unet_small": ("model=diffusers_unet_small", "diffusers"),
    "train.py experiment=diffusing_digits": ("model=diffusers_unet", "diffusers"),
    "train.py experiment=text_to_digit": ("model=diffusers_text_unet", "diffusers"),
    "train.py conditioning=clip model=dit": ("conditioning=clip", "text"),
    "train.py conditioning=clip_finetuned model=dit": ("conditioning=clip_finetuned", "text"),
    "train.py logger=wandb": ("logger=wandb", "wandb"),
    "train.py logger=mlflow": ("logger=mlflow", "mlflow"),
    "train.py logger=trackio": ("logger=trackio", "trackio"),
    "train.py callbacks=evaluation extractor@callbacks.evaluation.extractor=inception": (
        "extractor@callbacks.evaluation.extractor=inception",
        "inception",
    ),
    f"eval.py ckpt_path={SHIPPED} extractor=inception": ("extractor=inception", "inception"),
    f"export.py ckpt_path={SHIPPED} format=diffusers out=there": ("format=diffusers", "diffusers"),
}
PLUGINS = {
    "train.py -m launcher=joblib seed=1,2": ("launcher=joblib", "cluster"),
    "train.py -m launcher=slurm seed=1,2": ("launcher=slurm", "cluster"),
    "train.py -m hparams_search=optuna_mnist": ("hparams_search=optuna_mnist", "sweep"),
}


def without(*modules: str) -> dict[str, str]:
    """Environment of a process that cannot import these modules."""
    path = os.pathsep.join(filter(None, (str(ROOT / "tests" / "blocked"), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "LIGHTDIFF_BLOCKED": ",".join(modules)}


@pytest.mark.parametrize("typed", [*WANTED, *PLUGINS])
def test_a_missing_extra_is_one_line_before_torch_is_imported(typed: str, run_script: Run, tmp_path: Path) -> None:
    script, *arguments = typed.split()
    asked, extra = {**WANTED, **PLUGINS}[typed]
    done = run_script(script, *arguments, **without(*EXTRAS[extra], "torch"))
    assert done.returncode == 2, done.stderr
    # Hydra warns of a plugin that is on disk and cannot be imported: that is this test's doing
    lines = done.stderr.splitlines()
    assert len(lines) == 1 or typed in PLUGINS, done.stderr
    assert re.fullmatch(
        rf"error: {re.escape(asked)}: needs the extra {extra}, which is not installed; "
        rf"install it: \S+ -m pip install -e '\S+\[{extra}\]'",
        lines[-1],
    ), done.stderr
    assert [*tmp_path.iterdir()] == [] or typed in PLUGINS


def test_every_choice_that_needs_an_extra_is_among_them() -> None:
    """A new YAML file whose class needs an optional package must appear above."""
    needing = {
        f"{path.parent.name}={path.stem}"
        for path in (ROOT / "conf").glob("*/*.yaml")
        for target in re.findall(r"_target_: (\S+)", path.read_text())
        if target in extras.NEEDED_BY
    } | {
        f"{path.parent.name}={path.stem}"
        for path in (ROOT / "conf").glob("*/*.yaml")
        if "hydra/launcher" in path.read_text() or "hydra/sweeper" in path.read_text()
    }
    shown = " ".join([*WANTED, *PLUGINS, *(asked for asked, _ in WANTED.values())])
    assert not {choice for choice in needing if choice not in shown}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run, trained without any optional package and without metrics."""
    folder = tmp_path_factory.mktemp("base")
    done = started(folder, "train.py", *TINY, "trainer.max_epochs=1", blocked=[*OPTIONAL, "lightdiff.metrics"])
    assert done.returncode == 0, done.stderr
    return folder


def started(folder: Path, script: str, *arguments: str, blocked: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **without(*blocked)}
    words = [sys.executable, *([str(ROOT / script)] if script.endswith(".py") else [script]), *arguments]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


RUN = "lightning_logs/digits/version_0"
COMMANDS = {
    f"sample.py ckpt_path={RUN} num_samples=4 sampler.num_steps=3 save=[grid,gif,mp4,npz]": [
        "lightdiff.metrics",
        "lightdiff.callbacks",
    ],
    f"edit.py ckpt_path={RUN} image={ROOT / 'docs' / 'images' / 'editing_inpaint.png'} sampler.num_steps=3 "
    "save=[input,grid,gif,npz]": ["lightdiff.metrics", "lightdiff.callbacks"],
    f"eval.py ckpt_path={RUN} num_samples=40 sampler.num_steps=2 metrics=[fid,kid,is,precision_recall] "
    "metrics.kid.subset_size=20 metrics.is.splits=2": ["lightdiff.callbacks"],
    f"export.py ckpt_path={RUN} out=shared": ["lightdiff.metrics", "lightdiff.callbacks"],
    "report.py lightning_logs/digits": ["lightdiff.callbacks"],
}


# tests/base_installation.py runs all of them in a real base installation
@pytest.mark.parametrize(
    "typed",
    [pytest.param(typed, marks=() if typed.startswith("sample.py") else pytest.mark.slow) for typed in COMMANDS],
)
def test_commands_run_without_optional_packages_and_what_they_do_not_use(typed: str, trained: Path) -> None:
    script, *arguments = typed.split()
    done = started(trained, script, *arguments, blocked=[*OPTIONAL, *COMMANDS[typed]])
    assert done.returncode == 0, done.stderr


def test_a_model_loads_without_optional_packages(trained: Path) -> None:
    code = f"from lightdiff import load_model; print(load_model({RUN!r}).sample(2, num_steps=2, seed=0).shape)"
    done = started(trained, "-c", code, blocked=[*OPTIONAL, "lightdiff.metrics", "lightdiff.callbacks", "hydra"])
    assert done.returncode == 0, done.stderr
    assert "[2, 1, 16, 16]" in done.stdout


def test_a_checkpoint_whose_network_needs_an_extra_says_so(run_script: Run, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    network = {"_target_": "lightdiff.networks.DiffusersUNet2D"}
    (folder / "config.json").write_text(json.dumps({"lightdiff": {"model": {"network": network}}}))
    done = run_script("sample.py", "ckpt_path=exported", **without("diffusers", "torch"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ckpt_path=exported: network=DiffusersUNet2D: needs the extra diffusers")


def test_the_wording_names_what_was_asked_the_extra_and_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_found", lambda module: False)
    with pytest.raises(
        MissingExtra, match=r"^this: needs the extra text, which is not installed; install it: .*\[text\]'$"
    ):
        require("text", "this")
    config = {"model": {"_target_": "lightdiff.networks.DiffusersUNet2D"}, "seed": 1}
    assert [*missing_extra(config)] == [("model", "DiffusersUNet2D", "diffusers")]
