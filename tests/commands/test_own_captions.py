"""Runs on captions and columns of the images' own, through the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lightdiff import load_model
from lightdiff.commands.train_classifier import train_classifier
from lightdiff.config.build import build_data, build_model
from lightdiff.config.instantiate import ConfigError
from lightdiff.data import DiffSet
from lightdiff.metrics import Evaluation
from lightdiff.model import Generation
from own_photos import COLOURS, OWN, write_photos
from runs import ROOT, composed, last, train
from small_sets import write_emoji
from tiny_clip import WIDTH, save_tiny_clip
from waiting import PATIENCE

Command = Callable[..., CompletedProcess[str]]
RUN = "lightning_logs/folder/version_0"
RESUNET = ("model=resunet", "model.widths=[8]", "model.num_heads=2")
TEXT = (*OWN, "conditioning=text_small", *RESUNET)
ATTRIBUTES = (*OWN, "conditioning=attributes", "model=unet_small", "model.widths=[8,8]")


def write_captions(folder: Path, text: str = "a {shade} {colour} photo") -> None:
    """Write a metadata.csv for photos in folders of colours: captions, colours, and a shade for two thirds of them."""
    lines = ["file_name,text,colour,shade"]
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        shade, colour = ("dark", "light", "")[number % 3], path.parent.name
        lines.append(f"{colour}/{path.name},{text.format(shade=shade, colour=colour)},{colour},{shade}")
    (folder / "metadata.csv").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_photos(tmp_path_factory.mktemp("own") / "photos")
    write_captions(folder)
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path) -> Path:
    """A working directory with a run on the captions of the photos, made by the command line."""
    folder = photos.parent
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *TEXT, "callbacks=default", "callbacks.samples.rows=1"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


def test_a_run_says_and_keeps_what_it_found(trained: Path) -> None:
    line = "3 classes (blue, green, red), captions, columns colour, shade\n"
    assert line in (trained / "stdout").read_text()
    conditioning = yaml.safe_load((trained / RUN / "config.yaml").read_text())["conditioning"]
    assert conditioning["templates"] is None
    assert conditioning["vocabulary"] == "a blue dark green light photo red"
    assert conditioning["examples"]
    described = last(trained / RUN)["lightdiff"]["model"]["conditioning"]
    assert described["vocabulary"] == conditioning["vocabulary"]
    assert {path.suffix for path in (trained / RUN / "samples").glob("step_*")} == {".png", ".gif"}


def test_samples_are_asked_for_by_prompt_without_the_data(trained: Path, command: Command, tmp_path: Path) -> None:
    shutil.copytree(trained / RUN, tmp_path / "alone")
    few = ("num_samples=2", "save=[npz]", "sampler.num_steps=2", "progress=false")
    exported = command("export.py", "ckpt_path=alone", "out=shared")
    assert exported.returncode == 0, exported.stderr
    images = {}
    for name, run, asked in (("run", "alone", "prompt=a red photo"), ("export", "shared", "prompt=a red photo")):
        done = command("sample.py", f"ckpt_path={run}", asked, f"out={name}", *few)
        assert done.returncode == 0, done.stderr
        images[name] = np.load(tmp_path / name / "samples.npz")["images"]
    assert np.array_equal(images["run"], images["export"])
    for asked, message in (
        ("prompt=a pink photo", "unknown word 'pink'; known: a, blue, dark, green, light, photo, red"),
        ("labels=red", "labels=red: this model was trained on captions; ask for them with prompt=..."),
    ):
        done = command("sample.py", "ckpt_path=alone", asked, *few)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_the_image_of_a_prompt_does_not_depend_on_the_batch(trained: Path) -> None:
    model = load_model(trained / RUN)
    prompts = ["a red photo", "a dark blue photo", "a green photo"]
    together = model.sample(6, prompt=prompts, num_steps=2, seed=3, batch_size=6)
    assert torch.equal(together, model.sample(6, prompt=prompts, num_steps=2, seed=3, batch_size=6))
    torch.testing.assert_close(together, model.sample(6, prompt=prompts, num_steps=2, seed=3, batch_size=1))
    # without a prompt each example in turn
    assert torch.equal(
        model.sample(2, num_steps=2, seed=0),
        model.sample(2, prompt=model.conditioning.examples[:2], num_steps=2, seed=0),
    )


def test_it_goes_on_with_its_words(trained: Path, command: Command, tmp_path: Path) -> None:
    shutil.copytree(trained / "photos", tmp_path / "photos")
    shutil.copytree(trained / RUN, tmp_path / RUN)
    again = ("train.py", f"resume={RUN}", "trainer.max_epochs=2")
    write_captions(tmp_path / "photos", "a {shade} {colour} picture")
    done = command(*again)
    assert done.returncode == 2 and "the images are not those of" in done.stderr
    done = command(*again, "dataset.on_changed=accept")
    assert done.returncode == 0, done.stderr
    assert "picture" not in load_model(tmp_path / RUN).conditioning.number_of


def test_a_resumed_run_is_the_one_that_was_never_interrupted(photos: Path, tmp_path: Path) -> None:
    settings = [*TEXT, f"dataset.data_dir={photos}", "dataset.batch_size=16"]
    whole = train(composed(*settings, "trainer.max_epochs=2"), tmp_path / "whole")
    train(composed(*settings), tmp_path / "parts")
    # as the command line goes on
    config = yaml.safe_load((tmp_path / "parts" / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = 2
    (tmp_path / "parts" / "config.yaml").write_text(yaml.safe_dump(config))
    parts = train(config, tmp_path / "parts")
    assert whole["global_step"] == parts["global_step"] == 6
    weights = {name: value for name, value in whole["state_dict"].items() if isinstance(value, torch.Tensor)}
    assert any("conditioner.embedding" in name for name in weights)
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in weights.items())


def test_a_measurement_shows_the_captions_of_real_images(photos: Path) -> None:
    config = composed(*TEXT, f"dataset.data_dir={photos}")
    model, data = build_model(config), build_data(config)
    data.setup()
    extractor: Any = None
    evaluation = Evaluation({}, extractor, data, num_samples=6, split="train", cache_dir=Path())
    generation, asked = evaluation.wished(model, Generation.of(model, num_steps=2))
    shown = data.train_set[[0, 8, 16, 24, 32, 40]]
    assert torch.equal(generation.choice, model.conditioning.choose(labels=None, prompt=shown["caption"]))
    assert torch.equal(asked, shown["label"]) and len(asked.unique()) == 3
    # of a model of classes, each class in turn
    config = composed(*OWN, "conditioning=label", "model=unet_small", f"dataset.data_dir={photos}")
    labels = build_model(config)
    assert evaluation.wished(labels, Generation.of(labels, num_steps=2))[1].tolist() == [0, 1, 2, 0, 1, 2]


def test_a_run_on_captions_is_measured_on_the_captions_of_its_data(
    trained: Path, command: Command, tmp_path: Path
) -> None:
    for name in ("photos", RUN):
        shutil.copytree(trained / name, tmp_path / name)
    data = DiffSet("folder", data_dir=str(tmp_path / "photos"), image_size=16)
    train_classifier(data, "photos", tmp_path / "classifiers", epochs=1)
    measured = ("eval.py", f"ckpt_path={RUN}", "metrics=[fid,prompt_accuracy]", "num_samples=6", "sampler.num_steps=2")
    measured += ("extractor.dataset=photos", "extractor.weights=classifiers", "progress=false", "device=cpu")
    done = command(*measured)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / RUN / "evaluation" / "results.jsonl").read_text())
    assert record["labels"] == "conditions of the reference images" and record["reference"]["split"] == "train"
    assert {"fid", "prompt_accuracy"} <= record["values"].keys()
    assert "(measured before)" in command(*measured).stdout


def test_a_long_caption_is_one_line(photos: Path, command: Command, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    done = command("train.py", *TEXT, "conditioning.max_tokens=3")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "error: conditioning.max_tokens=3: 4 or more is expected" in done.stderr
    assert not (tmp_path / "lightning_logs/folder").exists()


def test_ignored_metadata_leaves_the_templates(photos: Path) -> None:
    place = f"dataset.data_dir={photos}"
    model = build_model(composed(*TEXT, place, "dataset.source.metadata=null"))
    assert model.conditioning.takes == ("labels", "prompt")
    assert model.conditioning.captions.texts[:2] == ["blue", "a photo of blue"]
    assert model.conditioning.number_of.keys() == {"a", "of", "photo", *COLOURS}


def test_attributes_of_a_folder(photos: Path, command: Command, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    done = command("train.py", *ATTRIBUTES)
    assert done.returncode == 0, done.stderr
    described = last(tmp_path / RUN)["lightdiff"]["model"]["conditioning"]
    assert described["columns"] == {"colour": list(COLOURS), "shade": ["dark", "light"]}
    images = {}
    for asked in ("labels={colour: red, shade: dark}", "labels={colour: red}", "labels={colour: 2}"):
        done = command(
            *("sample.py", f"ckpt_path={RUN}", asked, "num_samples=2", "save=[npz]", "sampler.num_steps=2"),
            *(f"out={len(images)}", "progress=false", "weights=raw"),
        )
        assert done.returncode == 0, done.stderr
        images[asked] = np.load(tmp_path / str(len(images)) / "samples.npz")["images"]
    assert np.array_equal(images["labels={colour: red}"], images["labels={colour: 2}"])
    done = command("sample.py", f"ckpt_path={RUN}", "labels={tone: 1}", "num_samples=2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "error: labels.tone: no such column" in done.stderr


def test_columns_are_chosen_by_name(photos: Path, command: Command, tmp_path: Path) -> None:
    place = f"dataset.data_dir={photos}"
    model = build_model(composed(*ATTRIBUTES, place, "conditioning.columns=[shade]"))
    assert model.conditioning.columns == {"shade": ["dark", "light"]}
    with pytest.raises(ConfigError, match=r"^conditioning.columns=tone: no such column; choices: colour, shade$"):
        build_model(composed(*ATTRIBUTES, place, "conditioning.columns=[tone]"))
    done = command("train.py", "conditioning=attributes", "model=unet_small", "dataset=digits")
    assert done.returncode == 2 and "conditioning.columns=" in done.stderr and "a data set with columns" in done.stderr


@pytest.mark.parametrize("conditioning", ["clip", "clip_finetuned"])
def test_clip_trains_on_captions_and_loads_without_its_files(conditioning: str, photos: Path, tmp_path: Path) -> None:
    clip = save_tiny_clip(tmp_path / "clip")
    settings = [*OWN, *RESUNET, f"conditioning={conditioning}", f"conditioning.pretrained={clip}"]
    settings += [f"dataset.data_dir={photos}", f"conditioning.token_dim={WIDTH}", "conditioning.max_tokens=24"]
    train(composed(*settings, "trainer.max_steps=1"), tmp_path / "run")
    shutil.rmtree(clip)
    assert load_model(tmp_path / "run").sample(2, num_steps=2, seed=0).isfinite().all()


def test_emoji_are_drawn_by_what_is_held_out(tmp_path: Path) -> None:
    write_emoji(tmp_path / "package")
    model = build_model(composed("experiment=text_to_emoji", f"dataset.data_dir={tmp_path}"))
    # "cat face 7", of words that training knows from other captions
    assert model.conditioning.takes == ("prompt",)
    assert all(set(text.split()) <= model.conditioning.number_of.keys() for text in model.conditioning.examples)


def test_pictures_of_predictions_and_classifiers_take_captioned_data(photos: Path, tmp_path: Path) -> None:
    config = composed(*TEXT, f"dataset.data_dir={photos}", "callbacks=[no_samples,predictions]")
    train(config, tmp_path / "run")
    assert list((tmp_path / "run" / "samples").glob("prediction_*.png"))
    data = DiffSet("folder", data_dir=str(photos), image_size=16)
    facts = train_classifier(data, "photos", tmp_path / "classifiers", epochs=1)
    assert facts["class_names"] == list(COLOURS)


def test_captions_together_with_an_image(photos: Path, tmp_path: Path) -> None:
    both = ("conditioning=both", "conditioning@conditioning.parts.first=text_small", "callbacks=default")
    settings = [*OWN, *RESUNET, *both, f"dataset.data_dir={photos}", "conditioning.parts.second.factor=2"]
    train(composed(*settings, "callbacks.samples.rows=1"), tmp_path / "run")
    model = load_model(tmp_path / "run")
    first = model.conditioning.parts["first"]
    assert first.takes == ("prompt",) and "red" in first.number_of
    assert list((tmp_path / "run" / "samples").glob("step_*.png"))
    small = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert model.sample(1, prompt="a red photo", condition=small, num_steps=2, seed=0).isfinite().all()
