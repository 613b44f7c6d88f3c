"""The group `guidance` in sample.py, in the pictures of training, in evaluations and in Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch

from lightdiff import load_model
from lightdiff.core import ClassifierFree, NoGuidance
from lightdiff.jobs.trainer import build_callbacks
from lightdiff.metrics.results import lines, table
from lightdiff.model import DiffusionModel, Generation
from lightdiff.utils.records import protocol_key, read_records
from reported import record
from runs import ROOT, composed

Run = Callable[..., CompletedProcess[str]]
SHIPPED = ROOT / "models" / "mnist_fast"


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return load_model(SHIPPED)


@pytest.fixture
def sample(command: Run, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Images (2, 28, 28, 1) that sample.py draws with these settings."""

    def sample(*settings: str) -> np.ndarray:
        out = tmp_path / "drawn"
        base = (f"ckpt_path={SHIPPED}", "num_samples=2", "sampler.num_steps=3", "labels=7", "save=[npz]", "device=cpu")
        done = command("sample.py", *base, "progress=false", f"out={out}", "overwrite=true", *settings)
        assert done.returncode == 0, done.stderr
        with np.load(out / "samples.npz") as arrays:
            return arrays["images"]

    return sample


def test_the_short_form_is_the_scale_of_the_group(sample: Callable[..., np.ndarray]) -> None:
    short = sample("guidance_scale=3")
    assert np.array_equal(short, sample("guidance=classifier_free", "guidance.scale=3"))
    assert np.array_equal(short, sample("guidance.scale=5", "guidance_scale=3"))
    assert np.array_equal(sample("guidance=none"), sample("guidance_scale=1"))
    assert not np.array_equal(short, sample("guidance=none"))


def test_interval_and_rescale_reach_the_images(sample: Callable[..., np.ndarray]) -> None:
    # 3 steps start at the times 1, 2/3 and 1/3: guidance acts at none of them, at one, or at all
    off = sample("guidance_scale=3", "guidance.interval=[0,0.1]")
    assert np.array_equal(off, sample("guidance_scale=1"))
    late = sample("guidance_scale=3", "guidance.interval=[0,0.5]")
    always = sample("guidance_scale=3")
    assert not np.array_equal(late, off) and not np.array_equal(late, always)
    assert not np.array_equal(sample("guidance_scale=3", "guidance.rescale=1"), always)


def test_python_takes_an_object_or_its_settings(model: DiffusionModel) -> None:
    settings = {"labels": 7, "num_steps": 3, "seed": 0}
    wanted = model.sample(2, guidance=ClassifierFree(3.0, rescale=0.7), **settings)
    assert torch.equal(wanted, model.sample(2, guidance={"scale": 3.0, "rescale": 0.7}, **settings))
    assert torch.equal(wanted, model.sample(2, guidance={"rescale": 0.7}, guidance_scale=3.0, **settings))
    assert not torch.equal(wanted, model.sample(2, guidance_scale=3.0, **settings))
    plain = model.sample(2, **settings)
    assert torch.equal(plain, model.sample(2, guidance=NoGuidance(), **settings))
    assert torch.equal(plain, model.sample(2, guidance_scale=1.0, **settings))
    with pytest.raises(ValueError, match=r"^guidance\.scal: no such key; did you mean scale"):
        model.sample(2, guidance={"scal": 3.0}, **settings)


@pytest.mark.parametrize("callback", ["samples", "evaluation"])
def test_the_pictures_and_metrics_of_training_follow_the_group(callback: str, model: DiffusionModel) -> None:
    overrides = ("callbacks=evaluation", "guidance.scale=3", "guidance.interval=[0,0.5]")

    def guidance(*more: str) -> object:
        built = build_callbacks({**composed("dataset=digits", "sampler=ddim", *overrides, *more), "seed": 0})
        [found] = [each for each in built if type(each).__name__.lower().startswith(callback[:4])]
        return Generation.of(model, num_steps=2, guidance=found.guidance, guidance_scale=found.guidance_scale).guidance

    assert guidance() == ClassifierFree(3, [0, 0.5])
    assert guidance(f"callbacks.{callback}.guidance_scale=8") == ClassifierFree(8, [0, 0.5])


def test_records_of_other_guidance_are_other_rows(tmp_path: Path) -> None:
    # formerly, records had only the scale
    plain, formerly = record(guidance_scale=2, guidance=""), record(guidance_scale=2)
    late = {**plain, "guidance": "interval=0.0-0.5"}
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in (plain, formerly, late)))
    assert read_records(path) == ([plain, formerly, late], [])
    assert protocol_key(plain) == protocol_key(formerly) != protocol_key(late)
    # a scale that was typed as 2 or as 2.0
    assert protocol_key(record(guidance_scale=2.0)) == protocol_key(formerly)
    assert "| 2 interval=0.0-0.5 |" in table([late]) and ", guidance 2 interval=0.0-0.5," in lines(late)[0]
