"""Metrics while training: curves by step and by images, the best checkpoint by them, resume, two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lightdiff import load_model
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.train import run_job
from runs import differences, killed, scalars, tiny, train, train_in_two_processes

EVALUATED = (
    "conditioning=label",
    "schedule=flow",
    "objective=flow",
    "callbacks=evaluation",
    "callbacks.evaluation.num_samples=33",
    "callbacks.checkpoints.monitor=eval/fid",
    "trainer.max_epochs=3",
)


def config(cache: Path, *overrides: str) -> dict:
    return tiny(*EVALUATED, f"callbacks.evaluation.cache_dir={cache}", *overrides)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_curves_best_checkpoint_and_resume(cache: Path, tmp_path: Path) -> None:
    whole = train(config(cache), tmp_path / "whole")
    curves = scalars(tmp_path / "whole")
    assert [step for step, _ in curves["eval/fid"]] == [7, 14, 21]
    assert [images for images, _ in curves["eval/fid_by_images"]] == [7 * 16, 14 * 16, 21 * 16]
    values = [value for _, value in curves["eval/fid"]]
    assert [value for _, value in curves["eval/fid_by_images"]] == values
    best = torch.load(tmp_path / "whole" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == 7 * (1 + values.index(min(values)))
    lines = [json.loads(line) for line in (tmp_path / "whole/evaluation/results.jsonl").read_text().splitlines()]
    assert [line["checkpoint"]["step"] for line in lines] == [7, 14, 21]
    assert "num_samples=33: with fewer than 10000 samples" in (tmp_path / "whole" / "train.log").read_text()
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert result["metrics"]["eval/fid"] == pytest.approx(values[-1], rel=1e-6)

    killed(config(cache), tmp_path / "parts", batch=17)
    resumed = train(config(cache), tmp_path / "parts")
    assert not [path for path in differences(whole, resumed) if "callbacks" not in path]
    again = scalars(tmp_path / "parts")
    for tag in ("eval/fid", "eval/fid_by_images"):
        assert again[tag] == curves[tag]  # every point once


def test_a_run_resumed_with_other_settings_is_measured_anew(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(config(cache, "callbacks.checkpoints.keep_every_n_epochs=1", "trainer.max_epochs=2"), folder)
    (first, before) = scalars(folder)["eval/fid"]
    (folder / "checkpoints" / "epoch_0001.ckpt").replace(folder / "checkpoints" / "last.ckpt")
    run_job(folder, config(cache, "trainer.max_epochs=2", "optimizer.lr=0.1"))
    (kept, after) = scalars(folder)["eval/fid"]
    assert kept == first and after[0] == before[0] == 14 and after[1] != before[1]


@pytest.mark.parametrize("end", [("trainer.max_epochs=3",), ("trainer.max_epochs=-1", "trainer.max_steps=17")])
def test_a_run_ends_with_a_figure(cache: Path, tmp_path: Path, end: tuple[str, ...]) -> None:
    """Otherwise a sweep that minimises it would fail after the training."""
    train(config(cache, "callbacks.evaluation.every_n_epochs=2", *end), tmp_path)
    last = {"trainer.max_epochs=3": 21}.get(end[0], 17)
    assert [step for step, _ in scalars(tmp_path)["eval/fid"]] == [14, last]
    assert "eval/fid" in json.loads((tmp_path / "result.json").read_text())["metrics"]


def test_training_does_not_notice(cache: Path, tmp_path: Path) -> None:
    with_it = train(config(cache), tmp_path / "with")
    without = train(tiny(*EVALUATED[:3], "trainer.max_epochs=3"), tmp_path / "without")
    assert not differences(with_it["state_dict"], without["state_dict"])


@pytest.mark.slow
def test_two_processes_measure_what_one_does(cache: Path, tmp_path: Path) -> None:
    double = config(cache, "trainer.precision=64-true", "trainer.max_epochs=1")
    train(double, tmp_path / "one" / "version_0")
    train_in_two_processes(double, tmp_path / "two" / "version_0")
    one, two = (scalars(tmp_path / name / "version_0")["eval/fid"] for name in ("one", "two"))
    assert len(one) == 1 and two[0][1] == pytest.approx(one[0][1], rel=1e-4)


def test_it_is_the_figure_of_the_command(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The averaged weights are measured, as eval.py does by default."""
    run = tmp_path / "run"
    train(config(cache, "trainer.max_epochs=1"), run)
    from lightdiff.data import DiffSet
    from lightdiff.metrics import FID, ClassifierExtractor, Evaluation
    from lightdiff.utils.images import to_uint8

    data = DiffSet("digits")
    data.setup()
    extractor = ClassifierExtractor()
    extractor.prepare(data, "cpu")
    images = to_uint8(load_model(run).sample(33, sampler="ddim", num_steps=3, seed=0))
    real = Evaluation({}, extractor, data, num_samples=33, cache_dir=cache).real
    assert scalars(run)["eval/fid"][0][1] == pytest.approx(FID().distance(extractor(images).vectors, real), rel=1e-5)


def test_what_cannot_be_measured_is_refused_before_training(cache: Path, tmp_path: Path) -> None:
    bad = config(cache, "callbacks.evaluation.extractor.dataset=stars")
    folder = tmp_path / "version_0"
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"callbacks.evaluation: dataset=stars: no classifier"):
        run_job(folder, bad)
    assert not (folder / "checkpoints").exists()


def test_too_few_real_images_are_refused_before_training(cache: Path, tmp_path: Path) -> None:
    few = ("callbacks.evaluation.split=val", "callbacks.evaluation.num_samples=9999")
    bad = config(cache, *few)
    bad["callbacks"]["evaluation"]["metrics"] = {"kid": {"_target_": "lightdiff.metrics.KID", "subset_size": 181}}
    folder = tmp_path / "version_0"
    folder.mkdir()
    with pytest.raises(
        ConfigError, match=r"callbacks.evaluation: metrics.kid.subset_size=181: at most 180 is expected"
    ):
        run_job(folder, bad)
    assert not (folder / "checkpoints").exists()
