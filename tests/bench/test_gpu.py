"""bench/gpu.py: its copies of the process, what it writes when, and a whole dry run on the CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import imageio.v3 as imageio
import pytest
import torch

import gpu
from gpu_parts import PARTS, GpuPart, cifar, speed
from gpu_parts.forks import in_fork
from gpu_parts.recipes import RECIPES, operations_of
from gpu_parts.resume import differences
from gpu_parts.task import DRY, Sizes, Task
from gpu_parts.tutorial import Epochs
from lightdiff import load_model
from parts.peak import Operations
from parts.results import Row
from parts.settings import Settings, Skipped
from runs import ROOT, composed


def task_of(out: Path, name: str = "speed", sizes: Sizes = DRY, seconds: float = 60) -> Task:
    settings = Settings(repeats=1, lap_seconds=0.0, batch=2)
    return Task(name, settings, sizes, out, time.monotonic() + seconds, settings.facts())


def written(out: Path) -> dict[str, Any]:
    return json.loads((out / "gpu.json").read_text())["parts"]


def test_cifar_gpu_has_the_size_that_it_states() -> None:
    config = composed("experiment=cifar_gpu")
    size = operations_of(config)
    assert size.parameters == 17_265_292
    assert size.forward == pytest.approx(2.94e9, rel=0.01)
    # the loss's gradient costs two more passes, but none to the images themselves
    assert size.training == pytest.approx(3 * size.forward, rel=0.01)
    steps = config["trainer"]["max_epochs"] * (50_000 // config["dataset"]["batch_size"])
    assert 14.5e6 < steps * config["dataset"]["batch_size"] < 15e6


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_composes_in_full_and_is_counted(name: str, tmp_path: Path) -> None:
    config = RECIPES[name].composed(task_of(tmp_path, sizes=Sizes()))
    assert operations_of(config).training > 1e8
    assert {*Sizes().recipes} == {*RECIPES}


def raising(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def test_a_copy_says_how_it_ended(capfd: pytest.CaptureFixture[str]) -> None:
    assert in_fork(lambda: {"found": 3}, 60)[:2] == ("measured", "") and in_fork(lambda: 3, 60).value == 3
    left_out = in_fork(raising(Skipped("pip install it")), 60)
    assert (left_out.word, left_out.reason) == ("left out", "pip install it") and not capfd.readouterr().err
    failed = in_fork(raising(ValueError("one\ntwo")), 60)
    assert str(failed) == "Failed after 0 s: ValueError: one two." and "Traceback" in capfd.readouterr().err
    crashed = in_fork(lambda: os.kill(os.getpid(), signal.SIGKILL), 60)
    assert (crashed.word, crashed.reason) == ("failed", "the process ended with exit code -9")


def test_a_copy_is_stopped_with_the_processes_that_it_has_started(tmp_path: Path) -> None:
    def inner() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    stopped = in_fork(lambda: in_fork(inner, 60), 0.5)
    assert stopped.word == "stopped" and stopped.seconds < 20
    if (tmp_path / "pid").is_file():
        # a process that is dead but was not waited for yet has no command line
        line = Path("/proc") / (tmp_path / "pid").read_text() / "cmdline"
        deadline = time.monotonic() + 10
        while line.is_file() and line.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not line.is_file() or not line.read_bytes()


@pytest.fixture(autouse=True)
def begun_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the minutes count from here, and not from the import, which may be long ago."""
    monkeypatch.setattr(gpu, "BEGAN", time.monotonic())


def replace_part(monkeypatch: pytest.MonkeyPatch, name: str, measure: Callable[[Task], None], least: float = 0) -> None:
    """Let a part measure something else."""
    module = ModuleType(f"gpu_parts.{name}_of_test")
    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(PARTS, name, GpuPart(name, f"{name}_of_test", 0.5, least))


def test_a_part_that_fails_or_does_not_fit_keeps_what_it_has_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def half(task: Task) -> None:
        task.write([Row("a half", "ms", {"here": 1.0})])
        raise RuntimeError("out of memory")

    replace_part(monkeypatch, "peak", half)
    replace_part(monkeypatch, "speed", lambda task: None, least=1e6)
    replace_part(monkeypatch, "tutorial", lambda task: task.write([Row("whole", "ms", {"here": task.left()})]))
    monkeypatch.setattr(gpu, "BEGAN", time.monotonic())
    names = ["peak", "speed", "tutorial"]
    assert gpu.measure(names, Settings(), Sizes(), tmp_path, 1) == 1
    found = written(tmp_path)
    assert [*found] == names
    outcomes = [part["facts"]["outcome"] for part in found.values()]
    assert outcomes[0] == "Failed after 0 s: RuntimeError: out of memory."
    assert outcomes[1].endswith("s are left, and it needs 1000000 s.") and outcomes[2].startswith("Measured")
    assert [len(part["rows"]) for part in found.values()] == [1, 0, 1]
    # its share of the minute
    assert 0 < found["tutorial"]["rows"][0]["values"]["here"] <= 30
    text = (tmp_path / "gpu.md").read_text()
    assert "| a half | ms | 1 |" in text and outcomes[1] in text and text.index("### peak") < text.index("### tutorial")
    capfd.readouterr()


def test_a_quick_dry_run_and_what_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["gpu.py", "--device", "cpu", "--dry-run", "--out", str(tmp_path / "out"), "--parts"]
    monkeypatch.setattr(sys, "argv", [*line, "peak,environment"])
    assert gpu.main() == 0
    found = written(tmp_path / "out")
    assert [*found] == ["environment", "peak"]
    assert found["environment"]["rows"][0]["details"]["packages"]["torch"] in found["peak"]["facts"]["torch"]
    rates = found["peak"]["rows"][0]["values"]
    assert rates.keys() == {"bfloat16", "float32"} and min(rates.values()) > 0
    printed = capfd.readouterr().out
    assert "| product of two square matrices | TFLOP/s |" in printed and "Under way" not in printed
    monkeypatch.setattr(sys, "argv", [*line, "speeed"])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert "speeed: choices: environment, peak" in capfd.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "out"), "--parts", "peak"])
    assert gpu.main() == 2 and not (tmp_path / "out").exists()
    assert (
        capfd.readouterr().err == "error: --device cuda: there is no GPU here that torch can use; choices: cuda, cpu\n"
    )


def test_a_way_that_fails_or_does_not_fit_is_named_and_the_fastest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_of(tmp_path, sizes=Sizes(recipes=("cifar_gpu", "dit")), seconds=30)

    def rate(task: Task, recipe: Any, way: speed.Way, profile: dict[str, float] | None) -> float:
        if "model=dit" in recipe.overrides:
            raise RuntimeError("no such kernel")
        return 100.0 if way.precision == "32-true" else 200.0

    monkeypatch.setattr(speed, "images_a_second", rate)
    monkeypatch.setattr(speed, "reason_against", lambda task, way: None)
    monkeypatch.setattr(speed, "peak_of", lambda task: 1e15)
    monkeypatch.setattr(speed, "operations_of", lambda config: Operations(1, 1e9, 3e9))
    speed.measure(task)
    cifar, share, dit, _ = written(tmp_path)["speed"]["rows"]
    assert cifar["values"] == {"bf16-mixed": 200, "32-true": 100}
    # compiled ones are expected to take 40 of the 30 seconds
    assert all("it may take 40 s" in cifar["details"]["missing"][f"{name}, compiled"] for name in cifar["values"])
    # 100 images a second of 3 GFLOP each
    assert share["values"]["32-true"] == pytest.approx(100 * 3e11 / 1e15)
    assert dit["values"] == {} and dit["details"]["missing"]["bf16-mixed"] == "RuntimeError: no such kernel"
    assert speed.fastest(task, "cifar_gpu") == (speed.WAYS[0], 200)
    assert "no such kernel" in capsys.readouterr().out
    assert speed.steps_within(1.9, 1000, 64) == 29


def test_the_epochs_of_the_tutorial_give_the_mean_loss_of_the_last_one(tmp_path: Path) -> None:
    task = task_of(tmp_path, "tutorial", Sizes(), seconds=60)
    trainer: Any = SimpleNamespace(num_training_batches=2, should_stop=False)
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    epochs = Epochs(task, {"way": "plain"})
    for losses in ((0.5, 0.25), (0.125, 0.375)):
        epochs.on_train_epoch_start(trainer, module)
        for number, loss in enumerate(losses):
            epochs.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, number)
        epochs.on_train_epoch_end(trainer, module)
    rows = {row["what"]: row for row in written(tmp_path)["tutorial"]["rows"]}
    last = rows["mean loss of the last epoch"]
    assert last["values"] == {"ours": 0.25} and last["details"]["losses by epoch"] == [0.375, 0.25]
    assert last["target"] == "at most 0.0211" and rows["epochs"]["values"] == {"ours": 2}
    assert not trainer.should_stop
    task.ends = time.monotonic() + 5
    epochs.on_train_epoch_end(trainer, module)
    assert trainer.should_stop


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_curve_leaves_out_the_time_of_judging_and_training_ends_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    task = task_of(tmp_path, "cifar_gpu", Sizes(points=2, samples=3, final_samples=30))
    task.ends = 100.0
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(time, "monotonic", clock)

    def draw(model: Any, sampling: tuple[str, int], rows: range, *_: Any) -> torch.Tensor:
        clock.now += len(rows)
        return torch.zeros(len(rows), 1, 4, 4, dtype=torch.uint8)

    monkeypatch.setattr(cifar, "FeatureDistance", lambda *_: lambda images: 1000 / clock.now)
    monkeypatch.setattr(cifar, "draw", draw)
    monkeypatch.setattr(cifar, "save_small", lambda trainer, folder: "not written")
    data = {"batch_size": 8, "image_size": 4, "resize_mode": "pad", "name": "cifar"}
    curve = cifar.Curve(task, {"dataset": data}, {"way": "plain"})
    model = load_model(ROOT / "models" / "mnist_fast")
    trainer: Any = SimpleNamespace(
        max_steps=20, global_step=0, should_stop=False, precision="32-true", lightning_module=model
    )
    curve.on_train_start(trainer, model)
    while not trainer.should_stop and trainer.global_step < trainer.max_steps:
        trainer.global_step += 1
        clock.now += 6
        curve.on_train_batch_end(trainer, model, {}, None, 0)
    curve.on_train_end(trainer, model)
    # ten steps of 6 s, 3 s of judging, then steps until less than 3 + 5 s are left
    assert curve.curve == [(60.0, 80, 1000 / 63), (90.0, 120, 1000 / 96)]
    rows = written(tmp_path)["cifar_gpu"]["rows"]
    assert rows[2]["values"]["ours"] == pytest.approx(120 / 90)
    details = rows[3]["details"]
    assert details["training was"] == "stopped before its end" and details["weights"] == "not written"
    assert details["ddim, 50 steps"] == "left out: 4 s are left, and it may take 30 s" and len(rows) == 4


def test_checkpoints_are_compared_bit_for_bit() -> None:
    left = {"a": [torch.tensor([0.0, 1.0]), 1], "b": {"c": None}}
    assert differences(left, {"a": [torch.tensor([0.0, 1.0]), 1], "b": {"c": None}}, "x") == []
    right = {"a": [torch.tensor([0.0, 1.0 + 2**-23]), 1.0], "b": {"d": 0}}
    assert differences(left, right, "x") == ["x.a.0", "x.a.1", "x.b.d"]


@pytest.mark.slow
def test_a_whole_dry_run(run_script: Callable[..., Any], tmp_path: Path) -> None:
    done = run_script("bench/gpu.py", "--device", "cpu", "--dry-run", "--out", "out", "--data-dir", "data")
    package = importlib.util.find_spec("diffusers") is not None
    assert done.returncode == (0 if package else 3), done.stderr
    out = tmp_path / "out"
    found = written(out)
    assert [*found] == [*PARTS]
    words = {name: part["facts"]["outcome"].split()[0] for name, part in found.items()}
    assert {*words.values()} == {"Measured"} if package else words.pop("packages") == "Left"
    (resume,) = found["resume"]["rows"]
    assert resume["values"] == {"ours": 0} and resume["details"]["goes on from step"] == 8
    assert resume["details"]["ends at step"] == 14
    curve = found["cifar_gpu"]["rows"][3]["details"]
    assert [images for _, images, _ in curve["curve: seconds, images, distance"]] == [16, 32]
    assert curve["training was"] == "the whole recipe" and len(found["cifar_gpu"]["rows"]) == 6
    assert len(found["tutorial"]["rows"][3]["details"]["losses by epoch"]) == 2
    for name in ("tutorial", "cifar_gpu"):
        assert imageio.imread(out / f"{name}.png").std() > 10
        assert load_model(out / name).sample(1, num_steps=1).shape == (1, 1, 16, 16)
