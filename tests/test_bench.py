"""bench/run.py: its clock, its tables, the tutorial's algorithm, and every part at a tiny size."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import run
from lightdiff.core import (
    Denoiser,
    DiffusionLoss,
    DiscreteSchedule,
    EpsilonPrediction,
    LeadingGrid,
    Objective,
    linear_betas,
)
from lightdiff.networks import UNet
from lightdiff.samplers import DDIM
from parts import PARTS, loader, memory, overhead, peak, quality, recipes, rivals, sampling, training
from parts.measure import FeatureDistance
from parts.results import Row, add, read, tables
from parts.settings import ROOT, Settings, Skipped
from parts.snapshots import Snapshots, TimeIsUp
from parts.timing import Ratio, Rounds, alternate
from parts.tutorial import TutorialTraining, TutorialUNet

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
"""Those of Lightning and the packages."""

TINY = (
    "dataset=digits",
    "dataset.image_size=16",
    "dataset.batch_size=8",
    "dataset.resize_mode=resize",
    "model.widths=[8,8,16,16]",
    "model.attention_levels=[2,3]",
)


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed: pip install -e '.[bench]'")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(repeats=1, lap_seconds=0.0, batch=2, data_dir=tmp_path, work=tmp_path / "work", ours=TINY)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# -- clock, file, table ---------------------------------------------------------------------------------------------------


class Machine:
    """A clock on which a step of a side takes what the side's list says next, times the machine's slowness."""

    def __init__(self) -> None:
        self.time, self.order = 0.0, []

    def step(self, name: str, seconds: list[float]):
        remaining = iter(seconds)

        def step() -> None:
            self.order.append(name)
            self.time += next(remaining)

        return step


def test_sides_take_turns_and_the_ratio_is_the_median_of_those_within_a_round() -> None:
    machine = Machine()
    rounds = Rounds(lap_seconds=0, clock=lambda: machine.time)
    # after two steps to warm up; in the third round the machine is ten times slower, in the second "slow" alone has a hiccup
    sides = {"fast": machine.step("fast", [9, 9, 1, 2, 10]), "slow": machine.step("slow", [9, 9, 3, 14, 40])}
    alternate(sides, 3, rounds)
    assert machine.order == ["fast"] * 2 + ["slow"] * 2 + ["fast", "slow"] * 3
    assert rounds.ratio("slow", "fast") == Ratio(4, 3, 7)  # of the medians it would be 14 / 2
    assert rounds.median("fast") == 2


def test_a_lap_has_as_many_steps_as_fill_it_and_seconds_are_those_of_one() -> None:
    machine, waited = Machine(), []
    rounds = Rounds(lap_seconds=1, clock=lambda: machine.time, synchronize=lambda: waited.append(len(machine.order)))
    alternate({"side": machine.step("side", [5, 0.3, *[0.25] * 4])}, 1, rounds)
    assert rounds.steps == {"side": 4} and rounds.seconds == {"side": [0.25]}
    assert waited == [1, 2, 2, 6]  # the device, before each reading


def test_rows_survive_the_file_and_a_part_measured_again_replaces_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "bench.json"
    facts = Settings().facts()
    add(path, "a", [Row("old", "ms", {"ours": 1.0})], facts)
    add(
        path,
        "d",
        [Row("loader", "images/s", {"loader": 1234.5, "resident batch": 1250.0}, Ratio(0.99, 0.9, 1.0))],
        facts,
    )
    add(path, "a", [Row("new", "ms", {"ours": 2.0, "theirs": None}, target="least")], facts)  # type: ignore[dict-item]
    content = read(path)
    assert json.loads(path.read_text()) == content and sorted(content["parts"]) == ["a", "d"]
    assert {"torch", "threads", "seed", "load_average_before", "machine", "date"} <= content["parts"]["a"][
        "facts"
    ].keys()
    lines = tables(content).splitlines()
    assert "| new | ms | 2 | not reached |  | least |" in lines
    assert "| loader | images/s | 1,234 | 1,250 | 0.99 (0.9 to 1) |  |" in lines
    assert not any("old" in line for line in lines)


def test_exit_codes_tell_skipped_from_failed_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def missing(_: Settings) -> list[Row]:
        raise Skipped("pip install it")

    found = [Row("x", "ms", {"ours": 1.0})]
    for name, function in (("efficiency", missing), ("good", lambda settings: found), ("bad", lambda settings: 1 / 0)):
        monkeypatch.setattr(loader, name, function, raising=False)
    for letter, function in (("x", "efficiency"), ("y", "good"), ("z", "bad")):
        monkeypatch.setitem(PARTS, letter, replace(PARTS["d"], function=function))
    out = tmp_path / "bench.json"
    assert run.measure(["x"], Settings(), out) == 3 and not out.exists()
    assert "pip install it" in capsys.readouterr().out
    assert run.measure(["x", "y"], Settings(), out) == 0
    assert run.measure(["z", "y"], Settings(), out) == 1 and sorted(read(out)["parts"]) == ["y"]


def test_the_command_refuses_unknown_parts_and_prints_what_a_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    add(tmp_path / "bench.json", "d", [Row("a row", "ms", {"ours": 1.0})], Settings().facts())
    monkeypatch.setattr(sys, "argv", ["run.py", "--table"])
    assert run.main() == 0 and "| a row | ms | 1 |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["run.py", "--parts", "a,q"])
    with pytest.raises(SystemExit, match="2"):
        run.main()
    assert "a, b, c, d, e, f, g, h" in capsys.readouterr().err


# -- the tutorial ---------------------------------------------------------------------------------------------------------


def test_the_tutorials_algorithm_gives_our_loss() -> None:
    torch.manual_seed(0)
    ours, theirs = UNet(image_size=16, widths=(8, 8, 16, 16)), TutorialUNet(widths=(8, 8, 16, 16))
    for weight, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.nn.init.normal_(other, std=0.2)
        weight.data.copy_(other)
    x0, noise = torch.rand(5, 1, 16, 16) * 2 - 1, torch.randn(5, 1, 16, 16)
    timesteps = torch.tensor([0, 1, 500, 998, 999])
    schedule, objective = DiscreteSchedule(linear_betas(1000)), Objective()
    denoiser = Denoiser(ours, schedule, EpsilonPrediction())
    expected = DiffusionLoss(objective).at(denoiser, x0, (timesteps + 1) / 1000, noise).mean()
    found = TutorialTraining(theirs, x0).loss(x0, timesteps, noise)
    assert expected > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_the_tutorials_network_is_the_one_with_12_919_041_parameters() -> None:
    theirs, ours = (peak.operations(build) for build in (TutorialUNet, UNet))
    assert theirs.parameters == ours.parameters == 12_919_041
    assert theirs.training == pytest.approx(ours.training, rel=0.01)


# -- every part -----------------------------------------------------------------------------------------------------------


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
    rows = peak.shares(settings, sides=(64,))
    images, speed = rows[0], rows[1]
    assert images.unit == "GFLOP an image" and images.values["ours"] > 0
    assert speed.ratio and speed.ratio.median == pytest.approx(speed.values["ours"] / speed.values["matrix product"])


def test_what_surrounds_a_step(settings: Settings) -> None:
    rows = overhead.step_rows(settings)
    step, ema, callbacks, batch, checkpoint = rows[:5]
    assert step.ratio and step.ratio.median == pytest.approx(100 * (1 - step.values["bare"] / step.values["ours"]))
    assert all(0 < row.values["ours"] < step.values["ours"] for row in (ema, callbacks, batch))
    assert checkpoint.values["ours"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_the_process_alone() -> None:
    """Not of the one that started it, which holds more here."""
    held = torch.ones(2**28, dtype=torch.uint8)  # 256 MiB
    ask = "import sys; sys.path[:0] = sys.argv[1:]; from parts.memory import resident_peak; print(resident_peak())"
    paths = [str(ROOT / "bench"), str(ROOT / "src")]
    told = subprocess.run([sys.executable, "-c", ask, *paths], capture_output=True, text=True, check=True).stdout
    assert 100 < float(told) < memory.resident_peak() - held.nbytes / 2**20 / 2


@pytest.mark.slow
def test_memory_of_a_process(settings: Settings) -> None:
    assert overhead.megabytes("ours", 2, settings) > 100


# -- quality --------------------------------------------------------------------------------------------------------------


def test_snapshots_cost_no_time_and_end_the_side(tmp_path: Path) -> None:
    now = [100.0]

    def weights() -> dict[str, torch.Tensor]:
        now[0] += 1000  # slow to write
        return {"weight": torch.zeros(1)}

    snapshots = Snapshots(tmp_path, seconds=20, count=2, start=100.0, clock=lambda: now[0])
    for _ in range(9):
        now[0] += 1
        snapshots.after_step(weights)
    assert not list(tmp_path.iterdir())
    now[0] += 1
    snapshots.after_step(weights)
    assert snapshots.elapsed() == 10 and snapshots.share == 0.5
    now[0] += 10
    with pytest.raises(TimeIsUp):
        snapshots.after_step(weights)
    assert sorted(float(file.stem) for file in tmp_path.iterdir()) == [10, 20]


def test_marks_are_reached_at_the_first_snapshot_below() -> None:
    curves = {"ours": [(60.0, 8.0), (120.0, 1.5), (180.0, 1.7)], "slow": [(180.0, 9.0)]}
    rows = quality.rows_of(curves, (5.0, 1.0), "few")
    assert rows[0].values == {"ours": 2.0, "slow": None} and rows[1].values == {"ours": None, "slow": None}
    assert rows[2].values == {"ours": 1.7, "slow": 9.0}


def test_the_rate_of_the_recipe_warms_up_and_decays() -> None:
    assert (
        recipes.rate(0) == 0 and recipes.rate(recipes.WARM_UP) == 1 and recipes.rate(1) == pytest.approx(0, abs=1e-12)
    )
    assert recipes.rate(recipes.WARM_UP / 2) == 0.5 and recipes.rate((1 + recipes.WARM_UP) / 2) == pytest.approx(0.5)


@needs("denoising_diffusion_pytorch", "diffusers")
@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_trains_and_its_snapshot_draws(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = torch.randint(0, 256, (100, 1, 32, 32), dtype=torch.uint8)
    monkeypatch.setattr(recipes, "padded_digits", lambda data_dir: images)
    monkeypatch.setattr(recipes, "BATCH", 8)

    def tiny_unet() -> torch.nn.Module:
        return rivals.denoising_diffusion().Unet(dim=8, dim_mults=(1, 2), channels=1, flash_attn=True)

    def tiny_unet2d() -> torch.nn.Module:
        return rivals.DiffusersUNet2D(widths=(8, 8), blocks_per_level=1, attention_levels=(1,))

    monkeypatch.setattr(recipes, "documented_unet", tiny_unet)
    for module in (recipes, quality):
        monkeypatch.setattr(module, "DiffusersUNet2D", tiny_unet2d)
    recipes.write_images(settings.work / "digits", settings.data_dir)
    ticks = iter(range(1000))
    snapshots = Snapshots(tmp_path / "snapshots", seconds=4, count=1, start=0, clock=lambda: next(ticks))
    with pytest.raises(TimeIsUp):
        recipes.RECIPES[name](snapshots, settings)
    (file,) = (tmp_path / "snapshots").iterdir()
    drawn = quality.DRAW[name](file, 3, 2, 2, settings)
    assert drawn.shape == (3, 1, 32, 32) and drawn.dtype == torch.uint8
    assert drawn.float().std() > 10  # noise at least, after so few steps


def test_few_steps_against_many(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureDistance, "__init__", lambda self, *_, **__: None)
    monkeypatch.setattr(FeatureDistance, "__call__", lambda self, images: float(len(images)))
    quality_row, speed = sampling.few_steps(replace(settings, samples=3, ours=()), many=6, few=2, chunk=2)
    assert quality_row.values == {"ddpm, 6": 3, "ddim, 2": 3, "dpmpp_2m, 2": 3}
    assert speed.ratio and all(len(seconds) == 2 for seconds in speed.details["seconds"].values())
