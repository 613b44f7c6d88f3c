"""The classifier of noisy images: its training, its files, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from lightdiff.commands.noisy_classifier import fit_noisy_classifier, noisy, noisy_accuracy, train_noisy_classifier
from lightdiff.core import PixelCodec, keyed_generator
from lightdiff.data import DiffSet
from lightdiff.model.noisy_classifier import load_noisy_classifier, save_noisy_classifier
from own_photos import COLOURS, write_photos

Run = Callable[..., CompletedProcess[str]]


def halves() -> tuple[torch.Tensor, torch.Tensor]:
    """Images (256, 1, 8, 8) whose left or right half is bright, and which half it is."""
    labels = torch.arange(256) % 2
    images = torch.randint(0, 60, (256, 1, 8, 8), generator=keyed_generator("cpu", 0))
    images[labels == 0, :, :, :4] += 190
    images[labels == 1, :, :, 4:] += 190
    return images.to(torch.uint8), labels


def test_it_learns_to_read_images_at_every_noise_level() -> None:
    images, labels = halves()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    network = fit_noisy_classifier(images, labels, 2, epochs=15, flip=False)
    shares = [noisy_accuracy(network, images, labels, tau) for tau in (0.0, 0.5, 1.0)]
    assert shares[0] == 1 and shares[1] > 0.9 and 0.3 < shares[2] < 0.7
    assert torch.equal(torch.get_rng_state(), before) and not network.training
    # what it says of pure noise is what it knows beforehand
    none = torch.ones(2)
    with torch.no_grad():
        assert (network(noisy(images[:2], none), none).softmax(1) - 0.5).abs().max() < 0.1


def test_the_same_seed_makes_the_same_classifier() -> None:
    images, labels = halves()
    first, again, other = (
        fit_noisy_classifier(images, labels, 2, epochs=1, flip=True, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.head.weight, again.head.weight) and not torch.equal(first.head.weight, other.head.weight)


def test_without_noise_it_gets_the_image() -> None:
    images, _ = halves()
    torch.testing.assert_close(noisy(images, torch.zeros(256)), PixelCodec().encode(images, torch.float32))


def test_its_files_bring_it_back(tmp_path: Path) -> None:
    network = fit_noisy_classifier(*halves(), 2, epochs=1, flip=False)
    file = tmp_path / "halves.safetensors"
    facts = save_noisy_classifier(file, network, {"class_names": ["left", "right"], "image_shape": [1, 8, 8]})
    loaded = load_noisy_classifier(file)
    u, tau = torch.randn(3, 1, 8, 8), torch.rand(3)
    assert torch.equal(loaded(u, tau), network(u, tau))
    assert loaded.class_names == ("left", "right") and loaded.image_shape == (1, 8, 8)
    with pytest.raises(ValueError, match=r"halves\.json: the \.safetensors file of a classifier"):
        load_noisy_classifier(tmp_path / "halves.json")
    for change, message in (
        ({"sha256": "0"}, "its SHA-256 is"),
        ({"network": {**facts["network"], "num_classes": 3}}, "head.weight is"),
        ({"network": {"_target_": "os.system", "command": "true"}}, "a file may only name the public classes"),
        ({"class_names": None}, "class_names"),
    ):
        file.with_suffix(".json").write_text(json.dumps({**facts, **change}))
        with pytest.raises(ValueError, match=f"no classifier of noisy images that can be used: .*{message}"):
            load_noisy_classifier(file)


def test_refusals(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    data = DiffSet("folder", data_dir=str(tmp_path / "photos"), image_size=16)
    data.setup()
    with pytest.raises(ValueError, match="--name a/b: a plain name is expected"):
        train_noisy_classifier(data, "a/b", tmp_path / "made", epochs=1, flip=False)
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_the_command_says_how_to_use_it(run_module: Run, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    train = ("-m", "lightdiff.commands.train_classifier", "photos", "--noisy", "--image-size", "16", "--epochs", "2")
    done = run_module(*train)
    assert done.returncode == 0, done.stderr
    file = "data/noisy_classifiers/photos.safetensors"
    assert f"{file}: use it by guidance=classifier guidance.classifier={file}" in done.stdout
    assert "at flow time 0.75" in done.stdout
    assert load_noisy_classifier(tmp_path / file).class_names == tuple(COLOURS)
