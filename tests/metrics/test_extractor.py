"""Feature extractors: what they refuse, what they do not depend on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from lightdiff.data import DiffSet
from lightdiff.metrics import ClassifierExtractor, InceptionExtractor
from lightdiff.metrics import classifier as module
from lightdiff.metrics.classifier import available, load_classifier
from lightdiff.metrics.fitting import accuracy, fit_classifier
from lightdiff.utils.images import to_uint8


def test_every_gray_level_survives_the_way_to_the_extractor() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(levels.float() / 127.5 - 1), levels)
    # rounded, not truncated, and clamped instead of wrapped
    assert to_uint8(torch.tensor([-1.01, 1.01, (99.6 / 127.5) - 1])).tolist() == [0, 255, 100]


def test_images_that_are_not_rounded_are_refused(classifier: ClassifierExtractor) -> None:
    with pytest.raises(TypeError, match="uint8 is expected"):
        classifier(torch.zeros(2, 1, 16, 16))


def test_features_do_not_depend_on_the_batch(classifier: ClassifierExtractor, digits: DiffSet) -> None:
    images = digits.train_set[range(150)]["image"]
    whole = classifier(images)
    alone = [classifier(images[i : i + 1]) for i in (0, 77, 149)]
    for i, one in zip((0, 77, 149), alone, strict=True):
        assert torch.equal(one.vectors[0], whole.vectors[i]) and torch.equal(one.logits[0], whole.logits[i])
    assert classifier(images[:0]).vectors.shape == (0, classifier.num_features)


def test_the_extractor_is_in_eval_mode(classifier: ClassifierExtractor, digits: DiffSet) -> None:
    images = digits.train_set[range(64)]["image"]
    assert not any(part.training for part in classifier._network.modules())
    before = {name: value.clone() for name, value in classifier._network.state_dict().items()}
    classifier(images)
    assert all(torch.equal(before[name], value) for name, value in classifier._network.state_dict().items())


@pytest.mark.parametrize("name", available())
def test_shipped_weights_are_those_of_their_facts_and_small(name: str) -> None:
    trained = load_classifier(name)
    path = module.WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size < 1_000_000 and not trained.network.training
    least = {"mnist": 0.993, "fashion": 0.92, "digits": 0.95, "cifar": 0.6}[name]
    assert trained.facts["test_accuracy"] >= least
    assert name != "cifar" or "preliminary" in trained.facts["note"]


def test_every_data_set_of_the_project_has_a_classifier() -> None:
    assert {"digits", "mnist", "fashion", "cifar"} == set(available())


def test_the_stated_accuracy_is_what_the_weights_have(digits: DiffSet) -> None:
    trained = load_classifier("digits")
    test = digits.val_set[range(digits.num_val)]
    assert accuracy(trained.network, test["image"], test["label"]) == pytest.approx(
        trained.facts["test_accuracy"], abs=1e-6
    )


@pytest.mark.parametrize("name", ["mnist", pytest.param("fashion", marks=pytest.mark.slow)])
def test_the_stated_accuracy_on_real_images(name: str, real_data: Path) -> None:
    trained = load_classifier(name)
    data = DiffSet(name, data_dir=str(real_data), image_size=28)
    data.setup()
    test = data.val_set[range(data.num_val)]
    found = accuracy(trained.network, test["image"], test["label"])
    assert found == pytest.approx(trained.facts["test_accuracy"], abs=5e-4)


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ending in ("json", "safetensors"):
        (tmp_path / f"digits.{ending}").write_bytes((module.WEIGHTS / f"digits.{ending}").read_bytes())
    monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    load_classifier("digits")
    facts = json.loads((tmp_path / "digits.json").read_text())
    (tmp_path / "digits.json").write_text(json.dumps({**facts, "sha256": "0" * 64}))
    with pytest.raises(ValueError, match="SHA-256"):
        load_classifier("digits")
    with pytest.raises(ValueError, match="dataset=stars: no classifier for it; choices: digits"):
        load_classifier("stars")


def test_a_border_that_was_padded_is_cut_off(digits: DiffSet) -> None:
    padded = DiffSet("digits", image_size=20, resize_mode="pad")
    padded.setup()
    # a classifier of padded 16x16 images would see the border; the vectors are those of the centre
    extractor = ClassifierExtractor()
    extractor.prepare(padded, "cpu")
    images = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(extractor(torch.nn.functional.pad(images, (2, 2, 2, 2))).vectors, extractor(images).vectors)


def test_images_of_other_channels_are_refused() -> None:
    colour = DiffSet("digits", channels=3)
    with pytest.raises(ValueError, match="channels"):
        colour.setup()
        ClassifierExtractor().prepare(colour, "cpu")


def test_a_classifier_learns_and_leaves_the_global_random_numbers_alone(digits: DiffSet) -> None:
    train, test = digits.train_set[range(800)], digits.val_set[range(digits.num_val)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    networks = [fit_classifier(train["image"], train["label"], 10, epochs=4, flip=False) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    assert accuracy(networks[0], test["image"], test["label"]) > 0.8
    assert torch.equal(networks[0].head.weight, networks[1].head.weight)


# -- Inception ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torch-fidelity reads it, of random weights that keep the signal's size."""
    port = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({}, path)
    with pytest.MonkeyPatch.context() as patch:  # its constructor wants weights, and there are none yet
        patch.setattr(port.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        shell = port.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    generator = torch.Generator().manual_seed(0)
    state = shell.state_dict()
    for name, value in state.items():
        if name.endswith("conv.weight"):
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif name.startswith("fc."):
            value.normal_(0, 0.02, generator=generator)
    torch.save(state, path)
    return path


def test_inception_through_the_real_network(inception_weights: Path, digits: DiffSet) -> None:
    extractor = InceptionExtractor(str(inception_weights))
    extractor.prepare(digits, "cpu")
    images = digits.train_set[range(3)]["image"]
    gray, colour = extractor(images), extractor(images.expand(-1, 3, -1, -1).contiguous())
    assert gray.vectors.shape == (3, 2048) and gray.logits.shape == (3, 1008)
    assert torch.equal(gray.vectors, colour.vectors)  # gray becomes RGB, for Inception only
    assert (gray.vectors[0] - gray.vectors[1]).abs().max() > 1e-4
    assert extractor.describe()["sha256"] and "299" in extractor.describe()["resizer"]


def test_weights_that_hold_code_are_refused(tmp_path: Path, digits: DiffSet) -> None:
    pytest.importorskip("torch_fidelity")
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (marker,)

    file = tmp_path / "weights.pth"
    torch.save({"conv.weight": Bomb()}, file)
    with pytest.raises(ValueError, match="not a file of weights"):
        InceptionExtractor(str(file)).prepare(digits, "cpu")
    file.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="not a file of weights"):
        InceptionExtractor(str(file)).prepare(digits, "cpu")
    assert not marker.exists()


def test_weights_of_another_network_are_refused(tmp_path: Path, digits: DiffSet) -> None:
    pytest.importorskip("torch_fidelity")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="these are not weights of Inception v3"):
        InceptionExtractor(str(tmp_path / "other.pth")).prepare(digits, "cpu")
    with pytest.raises(ValueError, match="no such file"):
        InceptionExtractor(str(tmp_path / "none.pth")).prepare(digits, "cpu")


def test_without_network_inception_says_so_in_seconds(
    waited: list[float], tmp_path: Path, digits: DiffSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = port.URL_INCEPTION_V3.rpartition("/")[2]
    monkeypatch.setattr(port, "URL_INCEPTION_V3", f"http://127.0.0.1:9/{name}")  # a port where nobody listens
    with pytest.raises(ValueError, match="cannot be downloaded .*extractor=classifier"):
        InceptionExtractor().prepare(digits, "cpu")
    assert sum(waited) < 10
    assert not list((tmp_path / "hub" / "checkpoints").glob("*.pth"))
