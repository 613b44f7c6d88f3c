"""The models that come with the project draw what they are asked for."""

from __future__ import annotations

import pytest
import torch

from lightdiff import DiffSet, load_model
from lightdiff.conditioning import SuperResolution
from lightdiff.metrics import ClassifierExtractor
from lightdiff.utils.images import to_uint8
from runs import ROOT


@pytest.mark.parametrize(("name", "num_steps"), [("mnist_fast", 10), ("mnist_one_step", 1)])
def test_a_shipped_model_draws_the_digits_it_is_asked_for(name: str, num_steps: int) -> None:
    folder = ROOT / "models" / name
    assert (folder / "model.safetensors").is_file(), f"models/{name} does not come along"
    assert (folder / "model.safetensors").stat().st_size < 5_000_000
    model = load_model(folder)
    images = to_uint8(model.sample(200, sampler="ddim", num_steps=num_steps, seed=0))
    extractor = ClassifierExtractor()
    extractor.prepare(DiffSet("mnist", image_size=28, resize_mode="none"), "cpu")
    read = extractor(images).logits.argmax(1)
    assert (read == torch.arange(200) % 10).double().mean() > 0.9


def test_the_shipped_super_resolution_draws_digits_that_fit_the_small_ones() -> None:
    folder = ROOT / "models" / "mnist_super_resolution"
    assert (folder / "model.safetensors").stat().st_size < 5_000_000
    model, digits = load_model(folder), load_model(ROOT / "models" / "mnist_fast")
    truth = to_uint8(digits.sample(100, sampler="ddpm", num_steps=20, seed=0))
    conditioner = model.conditioning
    assert isinstance(conditioner, SuperResolution)
    small = conditioner.made(truth, torch.zeros(100))
    assert small.shape == (100, 1, 7, 7)
    drawn = to_uint8(model.sample(100, condition=small, sampler="ddpm", num_steps=10, seed=0))
    # it becomes the small image again, to a few of 255 levels, and is the digit that it was made of
    assert (conditioner.made(drawn, torch.zeros(100)).double() - small.double()).abs().mean() < 6
    extractor = ClassifierExtractor()
    extractor.prepare(DiffSet("mnist", image_size=28, resize_mode="none"), "cpu")
    assert (extractor(drawn).logits.argmax(1) == torch.arange(100) % 10).double().mean() > 0.9
