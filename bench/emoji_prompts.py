"""Whether a model of emoji draws what a caption says that it has never seen: its samples, and the training pictures like them.

python bench/emoji_prompts.py lightning_logs/emoji/version_0 --classifier emoji --num-samples 500 --out emoji_prompts

Every prompt is the caption of a picture that is held out. For each sample the nearest training picture is looked up, in the
features of a classifier that has learned the categories (lightdiff.commands.train_classifier); counted are those of the asked
category. Beside it stands the same share for the held-out pictures themselves, which no model can be expected to exceed by much.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lightdiff import load_model
from lightdiff.conditioning.captions import words
from lightdiff.data import DiffSet
from lightdiff.metrics import ClassifierExtractor
from lightdiff.utils.captions import labelled
from lightdiff.utils.images import save_png, to_uint8

SHOWN = 60
"""Number of samples in the picture."""


def prompts_of(data: DiffSet, known: set[str]) -> list[int]:
    """Return the rows of the held-out pictures whose captions have known words only, in combinations that training lacks."""
    seen = {frozenset(words(text)) for text in data.train_set.annotations.captions or ()}
    captions = data.val_set.annotations.captions or []
    return [
        row for row, text in enumerate(captions) if known.issuperset(words(text)) and frozenset(words(text)) not in seen
    ]


def nearest(features: Tensor, reference: Tensor) -> Tensor:
    """Return the row of `reference` (M, D) that is nearest to each of `features` (N, D)."""
    return torch.cdist(features.double(), reference.double()).argmin(1)


def measured(arguments: argparse.Namespace) -> dict[str, float]:
    """Draw the samples, write a picture of some of them, and return the shares."""
    model = load_model(arguments.run)
    data = DiffSet("emoji", data_dir=arguments.data_dir, image_size=model.image_shape[-1])
    data.setup()
    assert model.conditioning is not None and data.val_set.annotations.captions is not None
    rows = prompts_of(data, {word for text in data.train_set.annotations.captions or () for word in words(text)})
    asked = [rows[number % len(rows)] for number in range(arguments.num_samples)]
    texts = [data.val_set.annotations.captions[row] for row in asked]
    images = to_uint8(
        model.sample(
            len(texts),
            sampler=arguments.sampler,
            num_steps=arguments.num_steps,
            guidance_scale=arguments.guidance_scale,
            prompt=texts,
            seed=0,
            progress=True,
        )
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_png(arguments.out / "samples.png", labelled(images[:SHOWN], texts[:SHOWN], 10))
    extractor = ClassifierExtractor(arguments.classifier, arguments.classifiers)
    extractor.prepare(data, "cpu")
    train = data.train_set[range(data.num_train)]
    reference = extractor(train["image"]).vectors
    held_out = data.val_set[rows]
    shares = {}
    for name, shown, labels in (
        ("samples", images, data.val_set.labels[asked]),
        ("held-out pictures", held_out["image"], held_out["label"]),
    ):
        found = nearest(extractor(shown).vectors, reference)
        shares[name] = (train["label"][found] == labels).double().mean().item()
        if name == "samples":
            pairs = torch.stack([images[:SHOWN], train["image"][found[:SHOWN]]], dim=1).flatten(0, 1)
            captions = [
                text for i, text in enumerate(texts[:SHOWN]) for text in (text, f"near: {train['caption'][found[i]]}")
            ]
            save_png(arguments.out / "nearest.png", labelled(pairs, captions, 10))
    return {"prompts": float(len(rows)), **shares}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="run folder, checkpoint or exported model")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--classifier", default="emoji")
    parser.add_argument("--classifiers", default="data/classifiers")
    parser.add_argument("--num-samples", type=int, default=500)
    parser.add_argument("--sampler", default="ddpm")
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("emoji_prompts"))
    for name, value in measured(parser.parse_args()).items():
        print(f"{name}: {value:.4g}")
