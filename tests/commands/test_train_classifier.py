"""A classifier of one's own data: trained by one command, found by eval.py, and refused where it does not fit."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lightdiff.commands.train_classifier import RECIPES, Recipe, data_set, train_classifier
from lightdiff.data import DiffSet
from lightdiff.metrics import ClassifierExtractor
from lightdiff.metrics.accuracy import PromptAccuracy
from lightdiff.metrics.classifier import available, load_classifier
from own_photos import COLOURS, LABEL, write_photos

Run = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("num_samples=12", "sampler.num_steps=2", "progress=false", "device=cpu", "metrics=[fid,prompt_accuracy]")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos")
    return tmp_path


def photos(work: Path, **settings: object) -> DiffSet:
    data = DiffSet("folder", data_dir=str(work / "photos"), **{"image_size": 16, **settings})
    data.name = "photos"
    data.setup()
    return data


@pytest.mark.slow
def test_the_command_that_the_message_names_makes_the_metric_work(command: Run, run_module: Run, work: Path) -> None:
    assert command("train.py", *LABEL, "dataset.name=photos").returncode == 0
    run = "ckpt_path=lightning_logs/photos/version_0"
    refused = command("eval.py", run, *QUICK)
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    start, _, named = refused.stderr.strip().partition(", or one of its own: python ")
    assert start.startswith(
        "error: extractor.dataset=photos: no classifier for it; choices: cifar, digits, fashion, mnist"
    )
    made = run_module(*shlex.split(named), "--epochs", "20")
    assert made.returncode == 0, made.stderr
    assert "data/classifiers/photos.safetensors: use it by extractor.dataset=photos" in made.stdout
    facts = json.loads((work / "data/classifiers/photos.json").read_text())
    assert facts["class_names"] == list(COLOURS) and facts["image_size"] == 16 and facts["channels"] == 3
    assert facts["test_accuracy"] == 1 and facts["num_train"] == 49
    done = command("eval.py", run, *QUICK)
    assert done.returncode == 0, done.stderr
    found = json.loads((work / "lightning_logs/photos/version_0/evaluation/results.jsonl").read_text())
    assert found["extractor"]["name"] == "classifier-photos" and found["extractor"]["sha256"] == facts["sha256"]
    elsewhere = work / "elsewhere"
    (work / "data/classifiers").rename(elsewhere)
    again = command("eval.py", run, *QUICK, "seed=1", "extractor.weights=elsewhere", "extractor.dataset=photos")
    assert again.returncode == 0, again.stderr


def test_a_classifier_reads_what_it_was_trained_on(work: Path) -> None:
    train_classifier(photos(work), "photos", work / "own", epochs=20)
    extractor = ClassifierExtractor("photos", str(work / "own"))
    data = photos(work)
    extractor.prepare(data, "cpu")
    assert extractor.class_names == list(COLOURS)
    everything = data.train_set[range(data.num_train)]
    assert torch.equal(extractor(everything["image"]).logits.argmax(1), everything["label"])


def test_it_must_fit_the_data(work: Path) -> None:
    train_classifier(photos(work), "photos", work / "own", epochs=1)
    own = str(work / "own")
    with pytest.raises(ValueError, match="dataset=photos: its classifier reads images of 3 channels, not 1"):
        ClassifierExtractor(None, own).prepare(photos(work, channels=1), "cpu")
    (work / "photos/red").rename(work / "photos/orange")
    with pytest.raises(
        ValueError, match=r"dataset=null: .*photos knows the classes blue, green, red, .*blue, green, orange"
    ):
        ClassifierExtractor(None, own).prepare(photos(work), "cpu")
    asked = ClassifierExtractor("photos", own)
    asked.prepare(photos(work), "cpu")  # its distances are wanted all the same
    with pytest.raises(ValueError, match="metrics=prompt_accuracy: the classifier photos knows other classes"):
        PromptAccuracy().check(10, asked, conditional=True, num_real=10)


def test_a_data_set_that_only_has_a_known_name_is_not_measured_by_its_classifier(work: Path) -> None:
    data = photos(work)
    data.name = "cifar"
    with pytest.raises(ValueError, match="dataset=null: the classifier cifar knows the classes airplane"):
        ClassifierExtractor().prepare(data, "cpu")


def test_what_cannot_be_trained_is_refused(work: Path, run_module: Run) -> None:
    with pytest.raises(ValueError, match="--name digits: the package has a classifier of that name"):
        train_classifier(photos(work), "digits", work / "own")
    with pytest.raises(ValueError, match="--name ../x: a plain name"):
        train_classifier(photos(work), "../x", work / "own")
    with pytest.raises(ValueError, match="images of two classes or more"):
        train_classifier(DiffSet("folder", data_dir=str(work / "photos/red"), image_size=16), "red", work / "own")
    with pytest.raises(ValueError, match="fotos: no such data set or folder; .*choices: .*folder"):
        data_set("fotos")
    assert not (work / "own").exists()
    done = run_module("-m", "lightdiff.commands.train_classifier", "fotos")
    assert done.returncode == 2 and done.stderr.startswith("error: fotos: no such data set or folder")


def test_a_folder_is_a_source(work: Path) -> None:
    data = data_set(str(work / "photos"), data_dir="data", image_size=16)
    data.setup()
    assert data.class_names == tuple(COLOURS)


def test_the_packages_recipes_are_what_they_were() -> None:
    assert {name: recipe.epochs_for(60_000) for name, recipe in RECIPES.items()} == {
        "digits": 40,
        "mnist": 10,
        "fashion": 12,
        "cifar": 12,
    }
    assert set(RECIPES) == set(available())
    assert (Recipe().epochs_for(50), Recipe().epochs_for(6_400), Recipe().epochs_for(10**6)) == (60, 12, 1)


@pytest.mark.parametrize("facts", ["{", "{}", "[]", '{"sha256": 3}'])
def test_broken_facts_are_named(facts: str, work: Path) -> None:
    train_classifier(photos(work), "photos", work / "own", epochs=1)
    (work / "own/photos.json").write_text(facts)
    with pytest.raises(ValueError, match=r"dataset=photos: .*photos.safetensors is no classifier that can be used"):
        load_classifier("photos", work / "own")
