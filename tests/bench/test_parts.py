"""bench/parts: parts a to e and g to i at a tiny size."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lightdiff.core import Denoiser, DiscreteSchedule, EpsilonPrediction, LeadingGrid, linear_betas
from lightdiff.samplers import DDIM
from needs import needs
from parts import loader, memory, one_step, overhead, peak, rivals, sampling, training
from parts.measure import FeatureDistance
from parts.settings import ROOT, Settings

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
"""Those of Lightning and the packages."""


def test_training_against_the_tutorial(settings: Settings) -> None:
    rows = training.against_tutorial(settings)
    assert len(rows) == 2 and all(row.values.keys() == {"ours", "tutorial"} for row in rows)
    for row in rows:
        (ours,), (tutorial,) = row.details["seconds"]["ours"], row.details["seconds"]["tutorial"]
        assert row.ratio and row.ratio.median == pytest.approx(tutorial / ours)
    assert rows[1].details["precision"] == "32-true"


@needs("denoising_diffusion_pytorch", "diffusers")
@pytest.mark.parametrize("name", rivals.MATCHES)
def test_matched_networks_have_equal_parameters_and_operations(name: str) -> None:
    match = rivals.MATCHES[name]
    theirs = peak.operations(match.theirs)
    for build in match.our_networks().values():
        ours = peak.operations(build)
        assert ours.parameters == pytest.approx(theirs.parameters, rel=0.05)
        assert ours.training == pytest.approx(theirs.training, rel=0.05)


@needs("diffusers")
def test_training_against_a_package(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"widths": (8, 16), "blocks_per_level": 1, "attention_levels": (1,)}
    match = rivals.Match(rivals.diffusers, lambda: rivals.DiffusersUNet2D(**small), {"ours": small})
    monkeypatch.setattr(training, "MATCHES", {"diffusers": match})
    rows = training.against_rivals(settings)
    assert [row.unit for row in rows[:2]] == ["million", "GFLOP an image"]
    assert len(rows) == 3 + len(settings.dtypes) and rows[-1].details["ways"].keys() == {"ours", "diffusers"}
    assert all(row.values.keys() == {"ours", "diffusers"} for row in rows)


@needs("diffusers")
def test_sampling_with_the_same_network(settings: Settings) -> None:
    rows = sampling.against_rivals(replace(settings, batch=1), cases=(("ddim", 2), ("dpmpp_2m", 2)))
    sides = {"ours", "diffusers"}
    if importlib.util.find_spec("denoising_diffusion_pytorch"):
        assert rows[0].values.keys() == {*sides, "denoising-diffusion-pytorch"}
    assert rows[-1].values.keys() == sides and all(row.ratio for row in rows)


@needs("diffusers")
def test_the_packages_draw_what_we_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same noise, network and times, nothing clipped: diffusers' ddim ends in the same images, so equal work is compared."""
    monkeypatch.setitem(rivals.SCHEDULERS, "ddim", ("DDIMScheduler", {"clip_sample": False}))
    torch.manual_seed(0)
    network = rivals.DiffusersUNet2D(image_size=16, widths=(8, 16), blocks_per_level=1, attention_levels=(1,)).eval()
    x_T = torch.randn(2, 1, 16, 16)
    denoiser = Denoiser(network, DiscreteSchedule(linear_betas(1000)), EpsilonPrediction())
    with torch.inference_mode():
        ours = DDIM(grid=LeadingGrid()).sample(denoiser, x_T, 5)  # their default grid
    theirs = rivals.diffusers_images(network.unet, "ddim", x_T, 5)
    torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-3)


def test_the_loader_and_the_resident_batch_take_turns(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[bool] = []
    iterate = loader.Switch.__iter__

    def watched(switch: loader.Switch):
        for batch in iterate(switch):
            handed.append(batch is switch.batch)
            yield batch

    monkeypatch.setattr(loader.Switch, "__iter__", watched)
    rows = loader.efficiency(replace(settings, repeats=2))
    assert len(rows) == 2 and set(rows[0].values) == {"loader", "resident batch"}
    assert all(len(seconds) == 2 for seconds in rows[0].details["seconds"].values())
    assert {True, False} == set(handed)


def test_operations_are_counted_and_the_peak_measured(settings: Settings) -> None:
    assert peak.counted(lambda: torch.ones(3, 4) @ torch.ones(4, 5)) == 2 * 3 * 4 * 5
    rows = peak.shares(settings, sides=(64,), shown=3)
    images, speed, *operators = rows[:5]
    shares = [row.values["ours"] for row in operators]
    assert len(rows) == 10 and sorted(shares, reverse=True) == shares and 0 < sum(shares) < 100
    assert images.unit == "GFLOP an image" and images.values["ours"] > 0
    assert speed.ratio and speed.ratio.median == pytest.approx(speed.values["ours"] / speed.values["matrix product"])


def test_what_surrounds_a_step(settings: Settings) -> None:
    rows = overhead.step_rows(settings)
    step, ema, callbacks, batch, checkpoint = rows[:5]
    assert step.ratio and step.ratio.median == pytest.approx(100 * (1 - step.values["bare"] / step.values["ours"]))
    assert all(0 < row.values["ours"] < step.values["ours"] for row in (ema, callbacks, batch))
    assert checkpoint.values["ours"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_memory_is_that_of_the_process_alone() -> None:
    """Not of the one that started it, which holds more here."""
    held = torch.ones(2**28, dtype=torch.uint8)  # 256 MiB
    ask = "import sys; sys.path[:0] = sys.argv[1:]; from parts.memory import resident_peak; print(resident_peak())"
    paths = [str(ROOT / "bench"), str(ROOT / "src")]
    told = subprocess.run([sys.executable, "-c", ask, *paths], capture_output=True, text=True, check=True).stdout
    assert 100 < float(told) < memory.resident_peak() - held.nbytes / 2**20 / 2


@pytest.mark.slow
@pytest.mark.parametrize("side", ["ours", "ours:diffusers", "ours, 2x2 patches:diffusers"])
def test_memory_of_a_process(side: str, settings: Settings) -> None:
    assert overhead.megabytes(side, 2, settings) > 100


def test_few_steps_against_many(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureDistance, "__init__", lambda self, *_, **__: None)
    monkeypatch.setattr(FeatureDistance, "__call__", lambda self, images: float(len(images)))
    quality_row, speed = sampling.few_steps(replace(settings, samples=3, ours=()), many=6, few=2, chunk=2)
    assert quality_row.values == {"ddpm, 6": 3, **{f"{name}, 2": 3 for name in sampling.FAST}}
    assert speed.ratio and all(len(seconds) == 2 for seconds in speed.details["seconds"].values())


@needs("diffusers")
def test_one_step_against_one_evaluation(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"widths": (8, 16), "blocks_per_level": 1, "attention_levels": (1,)}
    match = rivals.Match(rivals.diffusers, lambda: rivals.DiffusersUNet2D(**small), {})
    monkeypatch.setattr(one_step, "MATCHES", {"diffusers": match})
    monkeypatch.setattr(FeatureDistance, "__init__", lambda self, *_, **__: None)
    monkeypatch.setattr(FeatureDistance, "__call__", lambda self, images: float(len(images)))
    quality, speed = one_step.against_rivals(replace(settings, samples=3, ours=()), chunk=2)
    ours = {"1 step", "2 steps", "4 steps", "mnist_fast, ddpm, 20 steps"}
    assert quality.values == dict.fromkeys(ours, 3) and quality.ratio and quality.ratio.median == 1
    assert speed.values.keys() == {*ours, "diffusers"}
    seconds = speed.details["seconds an image"]
    assert speed.ratio and speed.ratio.median == pytest.approx(seconds["diffusers"][0] / seconds["1 step"][0])
