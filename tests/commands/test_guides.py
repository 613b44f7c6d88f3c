"""Guidance by other trained models through the commands: what is drawn, what a result remembers, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff import load_model
from lightdiff.config.build import build_model
from lightdiff.core import AutoGuided, ClassifierFree, ClassifierGuided, Combined
from lightdiff.metrics.measure import _sampling_protocol
from lightdiff.model import DiffusionModel, Generation, save_export
from lightdiff.model.noisy_classifier import load_noisy_classifier, save_noisy_classifier
from lightdiff.networks import TimedClassifier
from lightdiff.utils.images import to_uint8
from runs import composed, tiny, train

Run = Callable[..., CompletedProcess[str]]
UNET = ("model=unet_small", "model.attention_levels=[]", "model.num_heads=1", "ema_decay=null")
SIZE = ("dataset=digits", "dataset.image_size=16")
MODELS = {
    "strong": ("conditioning=label", "schedule=flow", "objective=flow", "model.widths=[8,8]"),
    "weak": ("conditioning=label", "schedule=cosine", "objective=v", "model.widths=[4,4]", "seed=1"),
    "same_schedule": ("conditioning=label", "schedule=flow", "objective=flow", "model.widths=[4,4]", "seed=2"),
    "plain": ("conditioning=none", "schedule=flow", "objective=flow", "model.widths=[8,8]"),
    "plain_weak": ("conditioning=none", "schedule=linear", "objective=epsilon", "model.widths=[4,4]", "seed=1"),
}
NAMES = [str(digit) for digit in range(10)]
QUICK = ("sampler.num_steps=2", "num_samples=4", "save=[npz]", "device=cpu", "progress=false", "channels_last=false")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with exported models that nobody has trained, and with a classifier of noisy digits."""
    folder = tmp_path_factory.mktemp("guides")
    for name, settings in MODELS.items():
        model = build_model(composed(*SIZE, *UNET, *settings))
        with torch.no_grad():
            for weight in model.trained.parameters():
                weight.add_(0.2 * torch.randn(weight.shape))
        (folder / name).mkdir()
        save_export(model, folder / name, weights="ema")
    for name, classes, size in (("digits", NAMES, 16), ("letters", ["a", "b"], 16), ("large", NAMES, 32)):
        network = TimedClassifier(1, size, len(classes), widths=(8,))
        with torch.no_grad():
            network.head.weight.mul_(20)
        facts = {"class_names": classes, "image_shape": [1, size, size]}
        save_noisy_classifier(folder / f"{name}.safetensors", network, facts)
    (folder / "broken.safetensors").write_bytes(b"\0" * 20)
    shutil.copy(folder / "digits.json", folder / "broken.json")
    (folder / "small").mkdir()
    small = build_model(composed("dataset=digits", "dataset.image_size=8", *UNET, *MODELS["plain"]))
    save_export(small, folder / "small", weights="ema")
    return folder


@pytest.fixture
def sample(command: Run, models: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Images (4, 16, 16, 1) that sample.py draws with these settings from one of the models."""

    def sample(name: str, *settings: str) -> np.ndarray:
        out = ("out=drawn", "overwrite=true")
        done = command("sample.py", f"ckpt_path={models / name}", *QUICK, *out, *settings)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "drawn" / "samples.npz") as arrays:
            return arrays["images"]

    return sample


def by(models: Path, name: str, *more: str) -> tuple[str, ...]:
    return "guidance=auto", f"guidance.weak={models / name}", *more


def drawn(models: Path, name: str, guidance: object = None, **settings: object) -> torch.Tensor:
    """Four images that Python draws from one of the models."""
    settings = {"num_steps": 2, "seed": 0, **settings}
    return load_model(models / name).sample(4, guidance=guidance, **settings)


@pytest.mark.parametrize(("strong", "weak"), [("strong", "weak"), ("plain", "plain_weak")])
def test_a_weak_model_guides(models: Path, strong: str, weak: str) -> None:
    plain, by_weak = drawn(models, strong), AutoGuided(2.0, weak=str(models / weak))
    assert torch.equal(drawn(models, strong, by_weak.scaled(1.0)), plain)
    assert torch.equal(drawn(models, strong, AutoGuided(3.0, weak=str(models / strong))), plain)
    guided = drawn(models, strong, by_weak)
    assert not torch.allclose(guided, plain, atol=0.01)
    settings = {"_target_": "lightdiff.core.AutoGuided", "weak": str(models / weak)}
    assert torch.equal(guided, drawn(models, strong, settings, guidance_scale=2.0))
    torch.testing.assert_close(guided, drawn(models, strong, by_weak, batch_size=1), rtol=0, atol=1e-3)
    with torch.inference_mode():
        assert torch.equal(guided, drawn(models, strong, by_weak))


def test_the_command_draws_what_python_draws(sample: Callable[..., np.ndarray], models: Path) -> None:
    found = sample("strong", *by(models, "weak"))
    wanted = to_uint8(drawn(models, "strong", AutoGuided(2.0, weak=str(models / "weak")))).permute(0, 2, 3, 1)
    assert np.array_equal(found, wanted.numpy())


def test_at_scale_0_it_is_the_weak_model(models: Path) -> None:
    # of the same schedule, so that the grid of times is the same
    weak = AutoGuided(0.0, weak=str(models / "same_schedule"))
    assert torch.equal(drawn(models, "strong", weak, labels=3), drawn(models, "same_schedule", labels=3))


def record_of(folder: Path) -> dict:
    return json.loads((folder / "samples.json").read_text())


def test_the_sha256_of_the_weak_model_belongs_to_the_folder(command: Run, models: Path, tmp_path: Path) -> None:
    for name in ("strong", "weak"):
        shutil.copytree(models / name, tmp_path / name)
    shutil.copytree(models / "weak", tmp_path / "moved")
    for name in ("weak", "moved", "strong"):
        done = command("sample.py", "ckpt_path=strong", *QUICK, "guidance=auto", f"guidance.weak={name}")
        assert done.returncode == 0, done.stderr
    folders = sorted((tmp_path / "strong" / "samples").iterdir())
    # the same weights in another place make no other folder
    assert len(folders) == 2
    for folder in folders:
        sha256 = record_of(folder)["settings"]["guidance"]["weak"]
        assert len(sha256) == 64 and f"_guidance2_auto_weak{sha256[:12]}_" in folder.name


@pytest.mark.slow
def test_a_checkpoint_beside_the_models_own_is_named_by_its_file(command: Run, tmp_path: Path) -> None:
    run = tmp_path / "version_0"
    train(tiny("conditioning=label", "trainer.max_epochs=2", "callbacks.checkpoints.keep_every_n_epochs=1"), run)
    early = next(path.name for path in sorted((run / "checkpoints").glob("epoch_*.ckpt")))
    base = ("sample.py", f"ckpt_path={run}", *QUICK, "out=drawn", "overwrite=true", "guidance=auto")
    shas = set()
    for settings in (
        [f"guidance.weak={early}"],
        [f"guidance.weak={early}", "guidance.weak_weights=raw"],
        [f"guidance.weak={run}"],
    ):
        done = command(*base, *settings)
        assert done.returncode == 0, done.stderr
        shas.add(record_of(tmp_path / "drawn")["settings"]["guidance"]["weak"])
    assert len(shas) == 3


@pytest.mark.slow
def test_eval_tells_weak_models_and_scales_apart(command: Run, models: Path, tmp_path: Path) -> None:
    base = (f"ckpt_path={models / 'plain'}", "dataset=digits", "dataset.image_size=16", "num_samples=20", "out=results")
    quick = ("sampler.num_steps=2", "progress=false", "cache_dir=cache", "device=cpu", "metrics=[fid]")
    done = command("eval.py", "-m", *base, *quick, *by(models, "plain_weak"), "guidance.scale=1,2")
    assert done.returncode == 0, done.stderr
    done = command("eval.py", *base, *quick, *by(models, "plain"))
    assert done.returncode == 0, done.stderr
    off, by_weak, by_itself = (
        json.loads(line) for line in (tmp_path / "results" / "results.jsonl").read_text().splitlines()
    )
    assert (off["guidance_scale"], off["guidance"]) == (1, "")
    assert by_weak["guidance_scale"] == 2 and by_weak["guidance"].startswith("auto weak=")
    assert by_itself["guidance"] != by_weak["guidance"] and by_itself["values"] == off["values"]
    assert by_weak["guidance"] in (tmp_path / "results" / "table.md").read_text()
    # what is measured under the scale 1 counts as measured without guidance
    again = command("eval.py", *base, *quick)
    assert again.returncode == 0 and "(measured before)" in again.stdout
    # a classifier gives an unconditional model classes, so that their accuracy can be measured
    aiming = ("guidance=classifier", f"guidance.classifier={models / 'digits.safetensors'}")
    done = command("eval.py", *base, *quick, *aiming, "metrics=[prompt_accuracy]")
    assert done.returncode == 0, done.stderr
    by_class = json.loads((tmp_path / "results" / "results.jsonl").read_text().splitlines()[-1])
    assert by_class["labels"] == "every class in turn" and "guidance 1 classifier " in done.stdout


def test_a_result_remembers_the_weak_model(models: Path) -> None:
    model = load_model(models / "plain")

    def protocol(name: str, scale: float) -> tuple[float, str]:
        found = _sampling_protocol(Generation.of(model, guidance=AutoGuided(scale, weak=str(models / name))), True)
        return found["guidance_scale"], found["guidance"]

    sha256 = protocol("plain_weak", 2.0)[1].removeprefix("auto weak=")
    assert len(sha256) == 12
    assert protocol("plain_weak", 1.0) == protocol("plain", 1.0) == (1, "")
    assert protocol("plain", 2.0) != protocol("plain_weak", 2.0)
    assert protocol("plain_weak", 0.0) == (0, f"auto weak={sha256}")


def test_edit_takes_them(command: Run, models: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 90, dtype=np.uint8)).save(tmp_path / "photo.png")
    base = ("edit.py", "image=photo.png", "task=image_to_image", *QUICK, "out=drawn", "overwrite=true")
    done = command(*base, f"ckpt_path={models / 'strong'}", *by(models, "weak"))
    assert done.returncode == 0, done.stderr
    aiming = ("guidance=classifier", f"guidance.classifier={models / 'digits.safetensors'}")
    done = command(*base, f"ckpt_path={models / 'plain'}", *aiming)
    assert done.returncode == 2 and done.stderr.startswith(
        "error: guidance_scale=1: labels=... or prompt=... is needed"
    )
    done = command(*base, f"ckpt_path={models / 'plain'}", *aiming, "labels=3")
    assert done.returncode == 0, done.stderr


def test_a_classifier_gives_a_model_without_a_condition_a_class(models: Path) -> None:
    guided = ClassifierGuided(5.0, classifier=str(models / "digits.safetensors"))
    threes = drawn(models, "plain", guided, labels=3)
    assert not torch.allclose(threes, drawn(models, "plain", guided, labels=5), atol=1e-3)
    assert torch.equal(drawn(models, "plain", guided.scaled(0.0), labels=3), drawn(models, "plain"))
    # every class in turn
    torch.testing.assert_close(drawn(models, "plain", guided)[3], threes[3], rtol=0, atol=1e-3)
    # beside the model's own condition
    by_class = drawn(models, "strong", guided, labels=3)
    assert not torch.allclose(by_class, drawn(models, "strong", labels=3), atol=1e-3)


def test_the_command_takes_a_classifier(sample: Callable[..., np.ndarray], models: Path, tmp_path: Path) -> None:
    file = models / "digits.safetensors"
    found = sample("plain", "guidance=classifier", f"guidance.classifier={file}", "labels=3")
    wanted = to_uint8(drawn(models, "plain", ClassifierGuided(classifier=str(file)), labels=3)).permute(0, 2, 3, 1)
    assert np.array_equal(found, wanted.numpy())
    sha256 = record_of(tmp_path / "drawn")["settings"]["guidance"]["classifier"]
    assert sha256 == load_noisy_classifier(file).sha256


def test_several_kinds_in_turn(sample: Callable[..., np.ndarray], models: Path) -> None:
    auto = AutoGuided(2.0, weak=str(models / "weak"))
    by_class = ClassifierGuided(classifier=str(models / "digits.safetensors"))
    parts = {"classifier_free": ClassifierFree(2.0), "auto": auto, "classifier": by_class}
    wanted = drawn(models, "strong", Combined(parts=parts), labels=3)
    assert not torch.allclose(wanted, drawn(models, "strong", Combined(parts={"auto": auto}), labels=3), atol=1e-3)
    settings = ("guidance=combined", f"guidance.parts.auto.weak={auto.weak}", "guidance.parts.classifier_free.scale=2")
    more = (
        "+guidance@guidance.parts.classifier=classifier",
        f"guidance.parts.classifier.classifier={by_class.classifier}",
    )
    found = sample("strong", *settings, *more, "labels=3")
    assert np.array_equal(found, to_uint8(wanted).permute(0, 2, 3, 1).numpy())


def test_the_picture_of_scales_needs_no_condition_where_the_guidance_needs_none(
    command: Run, models: Path, tmp_path: Path
) -> None:
    base = ("sample.py", *QUICK, "save=guidance", "guidance_scales=[0,2]", "out=drawn", f"ckpt_path={models / 'plain'}")
    assert command(*base, *by(models, "plain_weak")).returncode == 0
    assert (tmp_path / "drawn" / "guidance.png").is_file()
    done = command(*base, "overwrite=true")
    assert done.returncode == 2 and done.stderr.startswith("error: save=guidance: this model is unconditional")


AUTO, CLASS = "guidance=auto guidance.weak=", "guidance=classifier guidance.classifier="
BOTH = "guidance=combined guidance.parts.auto.weak="
REFUSED = {
    "strong guidance=auto": "guidance.weak: a value is needed",
    f"strong {AUTO}nowhere": "guidance.weak=nowhere: no such checkpoint or run folder",
    f"strong {AUTO}plain": "guidance.weak=plain: it has no condition, and this model has one",
    f"plain {AUTO}weak": "guidance.weak=weak: it has a condition (LabelConditioner), and this model has none",
    f"plain {AUTO}small": "guidance.weak=small: its images are 1x8x8",
    f"plain {AUTO}plain guidance.weak_weights=best": "guidance.weak_weights=best",
    f"plain {AUTO}plain guidance.weak_weights=raw": "guidance.weak=weights=raw",
    f"plain {AUTO}plain guidance.interval=[1,0]": "guidance.interval=[1, 0]: two times",
    "plain guidance=classifier": "guidance.classifier: a value is needed",
    f"plain {CLASS}nowhere": "guidance.classifier=nowhere: the .safetensors file of a classifier",
    f"plain {CLASS}large.safetensors": "guidance.classifier=large.safetensors: its images are 1x32x32",
    f"strong {CLASS}letters.safetensors": "guidance.classifier=letters.safetensors: its classes are a, b",
    f"plain {CLASS}letters.safetensors labels=c": "labels=c: choices: 0 a, 1 b",
    f"plain {CLASS}broken.safetensors": "guidance.classifier=broken.safetensors: no classifier of noisy",
    f"plain {BOTH}plain guidance_scale=2": "guidance_scale=2: guidance=combined has no scale",
    f"plain {BOTH}nowhere": "guidance.parts.auto.weak=nowhere: no such checkpoint",
    f"plain {BOTH}plain guidance.parts.classifier_free.scale=2": (
        "guidance.parts.classifier_free.scale=2: this model is unconditional"
    ),
}


@pytest.mark.parametrize("typed", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(command: Run, models: Path, typed: str) -> None:
    name, *settings = typed.split()
    done = command("sample.py", f"ckpt_path={name}", *QUICK, *settings, folder=models)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"error: {REFUSED[typed]}")
    assert not (models / name / "samples").exists()


@pytest.mark.parametrize("kind", [f"{AUTO}x", f"{CLASS}x", f"{BOTH}x"])
def test_no_other_model_guides_the_pictures_of_a_training(command: Run, tmp_path: Path, kind: str) -> None:
    done = command("train.py", *SIZE, *UNET, *kind.split())
    assert done.returncode == 2 and "another trained model cannot guide the pictures" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.ckpt")) and not list(tmp_path.rglob("config.yaml"))


def test_the_weak_model_keeps_out_of_the_model_that_draws(models: Path) -> None:
    model = load_model(models / "strong")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.sample(2, num_steps=2, guidance=AutoGuided(2.0, weak=str(models / "weak")))
    assert isinstance(model, DiffusionModel) and model.state_dict().keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
