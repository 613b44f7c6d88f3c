"""Every recipe in conf/experiment runs two steps, samples and reloads, with only steps, batch size and data made small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightdiff import load_model
from lightdiff.config.build import build_model
from lightdiff.model import example_of
from lightdiff.model.export import save_export
from runs import ROOT, composed, last, train
from small_sets import write_small_sets
from tiny_clip import WIDTH, save_tiny_clip

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SMALL = (
    "dataset.batch_size=2",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
    "sampler.num_steps=2",
    "callbacks.samples.rows=1",
    "callbacks.samples.columns=2",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of the data sets."""
    return write_small_sets(tmp_path_factory.mktemp("data"))


DATA = {
    # any folder of photos stands for the cars
    "cars": ["dataset=folder"],
    # the classifier of the measurement would be trained on noise
    "cifar_gpu": ["callbacks.evaluation=null"],
    "cifar_one_step": ["callbacks.evaluation=null"],
}
TEACHERS = {"digits_one_step": "digits_fast", "fashion_one_step": "fashion_fast", "cifar_one_step": "cifar_gpu"}
"""Experiments that begin with a trained model, and the one that trains it."""


LARGE = ("cars", "cifar_gpu", "cifar_one_step")
"""Experiments whose networks take most of the time; narrow ones of them are built in test_experiments_on_any_data.py."""


@pytest.mark.parametrize(
    "name",
    [
        *[pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in EXPERIMENTS],
        "text_to_digit conditioning=clip",
        "text_to_digit conditioning=clip_finetuned",
    ],
)
def test_runs_two_steps_samples_and_reloads(name: str, images: Path, tmp_path: Path) -> None:
    name, *others = name.split()
    where = [f"dataset.data_dir={images / 'photos'}"] if name == "cars" else []
    if others:
        clip = save_tiny_clip(tmp_path / "clip")
        where += [f"conditioning.pretrained={clip}", f"conditioning.token_dim={WIDTH}", "conditioning.max_tokens=32"]
    if name in TEACHERS:
        teacher = build_model(composed(f"experiment={TEACHERS[name]}", "ema_decay=null"))
        (tmp_path / "teacher").mkdir()
        save_export(teacher, tmp_path / "teacher", weights="ema")
        where += [f"init_from={tmp_path / 'teacher'}"]
    config = composed(f"experiment={name}", *DATA.get(name, []), *others, *where, *SMALL)
    if config["dataset"].get("data_dir") == "data":
        config["dataset"]["data_dir"] = str(images)
    folder = tmp_path / "version_0"
    train(config, folder)
    assert last(folder)["global_step"] == 2
    assert len(list((folder / "samples").glob("*.gif"))) == 1
    model = load_model(folder)
    samples = model.sample(2, num_steps=2, seed=0, **example_of(model))
    assert samples.shape == (2, *model.image_shape)
    assert samples.isfinite().all()
    assert torch.equal(samples, load_model(folder).sample(2, num_steps=2, seed=0, **example_of(model)))
