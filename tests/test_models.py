"""The model that comes with the project draws what it is asked for."""

from __future__ import annotations

import torch

from lightdiff import DiffSet, load_model
from lightdiff.metrics import ClassifierExtractor
from lightdiff.utils.images import to_uint8
from runs import ROOT


def test_the_shipped_model_draws_the_digits_it_is_asked_for() -> None:
    folder = ROOT / "models" / "mnist_fast"
    assert (folder / "model.safetensors").stat().st_size < 5_000_000
    model = load_model(folder)
    images = to_uint8(model.sample(200, sampler="ddim", num_steps=10, seed=0))
    extractor = ClassifierExtractor()
    extractor.prepare(DiffSet("mnist", image_size=28, resize_mode="none"), "cpu")
    read = extractor(images).logits.argmax(1)
    assert (read == torch.arange(200) % 10).double().mean() > 0.9
