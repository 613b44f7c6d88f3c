"""Evaluation: distances rise with noise, results state their reference, impossible metrics are refused early."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightdiff.data import DiffSet
from lightdiff.metrics import FID, KID, ClassifierExtractor, Evaluation


@pytest.fixture(scope="module")
def evaluation(
    digits: DiffSet, classifier: ClassifierExtractor, tmp_path_factory: pytest.TempPathFactory
) -> Evaluation:
    return Evaluation({"fid": FID()}, classifier, digits, num_samples=500, cache_dir=tmp_path_factory.mktemp("cache"))


def test_distances_of_images_rise_with_noise(evaluation: Evaluation, digits: DiffSet) -> None:
    images = digits.train_set[range(500)]["image"]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for level in (0, 8, 24, 72):
        noisy = (images + level * noise).round().clamp(0, 255).to(torch.uint8)
        found.append(FID().distance(evaluation.extractor(noisy).vectors, evaluation.real))
    assert found == sorted(found) and found[1] > found[0] and found[-1] > 3 * found[0] > 0


def test_the_split_and_the_number_of_its_images_are_stated(
    digits: DiffSet, classifier: ClassifierExtractor, tmp_path: Path
) -> None:
    stated = {}
    for split, count in (("train", 1617), ("val", 180)):
        made = Evaluation({}, classifier, digits, num_samples=10, split=split, cache_dir=tmp_path)  # type: ignore[arg-type]
        stated[split] = made.protocol()["reference"]
        assert stated[split]["split"] == split and stated[split]["num_images"] == count == made.real.reference.count
    assert stated["train"]["content"] != stated["val"]["content"]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_metric_without_what_it_needs_is_refused_before_anything_is_read(
    digits: DiffSet, classifier: ClassifierExtractor, tmp_path: Path
) -> None:
    made = Evaluation({"kid": KID()}, classifier, digits, num_samples=10, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="num_samples=10: kid needs"):
        made.check(conditional=False)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="num_samples=0: 1 or more"):
        Evaluation({}, classifier, digits, num_samples=0, cache_dir=tmp_path)
