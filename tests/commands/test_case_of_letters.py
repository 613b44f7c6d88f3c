"""A choice of a group is found in any case of letters: dataset=MNIST, as the tutorials write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from lightdiff.commands.arguments import in_usual_cases
from lightdiff.data import DiffSet
from runs import TINY

Command = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dataset=MNIST", "dataset=mnist"),
        ("dataset=Fashion", "dataset=fashion"),
        ("dataset=CIFAR", "dataset=cifar"),
        ("dataset=MNIST,Fashion,cifar", "dataset=mnist,fashion,cifar"),
        ("+experiment=DDPM_UNet", "+experiment=ddpm_unet"),
        ("metrics=[FID,KID]", "metrics=[fid,kid]"),
        ("metrics@callbacks.evaluation.metrics=[FID, Kid]", "metrics@callbacks.evaluation.metrics=[fid, kid]"),
        ("objective/weighting=Min_SNR", "objective/weighting=min_snr"),
        ("dataset=choice(MNIST,'Fashion')", "dataset=choice(mnist,'fashion')"),
        *((same, same) for same in ("dataset=MINST", "dataset=", "dataset=null", "dataset=${x}", "weights=EMA")),
        *((same, same) for same in ("dataset.name=MNIST", "data_dir=MNIST", "MNIST", "=MNIST", "/dataset=MNIST")),
    ],
)
def test_a_choice_is_found_and_nothing_else_is_touched(typed: str, meant: str) -> None:
    assert in_usual_cases([typed]) == [meant]


def test_of_two_choices_that_are_alike_none_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "Mnist.yaml").write_text("name: mine\n")
    if (tmp_path / "dataset" / "MNIST.yaml").exists():
        pytest.skip("this file system knows no case of letters")
    monkeypatch.setattr("sys.argv", ["train.py", "--config-dir", str(tmp_path)])
    asked = ["dataset=mnist", "dataset=Mnist", "dataset=MNIST", "dataset=CIFAR"]
    assert in_usual_cases(asked) == ["dataset=mnist", "dataset=Mnist", "dataset=MNIST", "dataset=cifar"]


def test_the_runs_of_a_sweep_have_the_usual_names_everywhere(command: Command, tmp_path: Path) -> None:
    words = [word.replace("dataset=digits", "dataset=DIGITS") for word in TINY if not word.startswith("sampler=")]
    once = ("model=UNet_Small", "callbacks=No_Samples", "trainer.max_steps=1")
    done = command("train.py", "-m", *words, *once, "sampler=DDIM,Heun")
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "lightning_logs"
    assert sorted(path.name for path in runs.iterdir()) == [".sweeps", "digits"]
    for folder, sampler in ((runs / "digits" / "version_0", "ddim"), (runs / "digits" / "version_1", "heun")):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["dataset"]["name"] == "digits"
        assert config["sampler"]["_target_"].rpartition(".")[2].casefold() == sampler
        assert {"dataset=digits", f"sampler={sampler}"} <= {
            *yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
        }
        chosen = yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())["hydra"]["runtime"]["choices"]
        expected = {"dataset": "digits", "model": "unet_small", "callbacks": "no_samples", "sampler": sampler}
        assert {group: chosen[group] for group in expected} == expected


def test_a_misspelt_name_is_refused_as_it_was_typed(command: Command) -> None:
    done = command("train.py", "dataset=MINST")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: dataset=MINST: no such choice; ")


@pytest.mark.parametrize(("name", "usual"), [("MNIST", "mnist"), ("Fashion", "fashion"), ("CIFAR", "cifar")])
def test_a_diffset_knows_the_tutorials_names(name: str, usual: str) -> None:
    data, expected = DiffSet(name), DiffSet(usual)
    assert (data.name, type(data.source), data.channels) == (usual, type(expected.source), expected.channels)


def test_a_misspelt_diffset_is_refused() -> None:
    with pytest.raises(ValueError, match="^name=MINST: no such data set; "):
        DiffSet("MINST")


def test_a_diffset_of_the_users_own_source_keeps_its_name() -> None:
    assert DiffSet("MNIST", source=DiffSet("mnist").source).name == "MNIST"
