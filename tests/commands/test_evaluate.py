"""eval.py as a user types it: figures with their protocol, grids, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightdiff import load_model
from lightdiff.data import DiffSet
from lightdiff.metrics import FID, ClassifierExtractor, Evaluation
from lightdiff.utils.images import to_uint8
from runs import ROOT, tiny, train
from waiting import PATIENCE

Run = Callable[..., subprocess.CompletedProcess[str]]
ALL = "metrics=[fid,kid,is,precision_recall,prompt_accuracy,synthetic_accuracy]"
QUICK = ("num_samples=50", "sampler.num_steps=2", "progress=false", "cache_dir=cache", "device=cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a class-conditional run on the digits."""
    folder = tmp_path_factory.mktemp("eval") / "version_0"
    train(tiny("conditioning=label", "schedule=flow", "objective=flow", "trainer.max_epochs=1"), folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The same, to write to."""
    return Path(shutil.copytree(trained, tmp_path / "version_0"))


def results(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "evaluation" / "results.jsonl").read_text().splitlines()]


def test_a_result_carries_its_protocol(command: Run, run: Path) -> None:
    done = command(
        "eval.py", f"ckpt_path={run}", ALL, "metrics.kid.subset_size=40", "metrics.synthetic_accuracy.epochs=1", *QUICK
    )
    assert done.returncode == 0, done.stderr
    (found,) = results(run)
    names = {"fid", "kid", "is", "precision", "recall", "prompt_accuracy", "confident", "synthetic_accuracy"}
    assert set(found["values"]) == names
    assert all(isinstance(entry["value"], float) for entry in found["values"].values())
    assert found["values"]["kid"]["spread"] is not None and found["metrics"]["kid"]["subset_size"] == 40
    assert found["num_samples"] == 50 and found["num_steps"] == 2 and found["guidance_scale"] == 1
    assert (found["sampler"]["name"], found["weights"], found["seed"]) == ("ddim", "ema", 0)
    assert found["reference"]["split"] == "train" and found["reference"]["num_images"] == 1617
    assert len(found["extractor"]["sha256"]) == len(found["checkpoint"]["sha256"]) == 64
    assert found["extractor"]["resizer"] and found["images_per_second"] > 0 and found["versions"]["torch"]
    table = (run / "evaluation" / "table.md").read_text().splitlines()
    assert len(table) == 3 and all(line.count("|") == table[0].count("|") for line in table)
    assert f"{found['values']['fid']['value']:.4g}" in table[2] and " ± " in table[2]
    assert "with fewer than 10000 samples" in done.stdout


def test_the_figure_is_that_of_these_images(command: Run, run: Path, tmp_path: Path) -> None:
    """The whole path by hand: load, sample, round, read, compare."""
    assert command("eval.py", f"ckpt_path={run}", "seed=4", *QUICK).returncode == 0
    data = DiffSet("digits")
    data.setup()
    extractor = ClassifierExtractor()
    extractor.prepare(data, "cpu")
    images = to_uint8(load_model(run).sample(50, sampler="ddim", num_steps=2, seed=4))
    evaluation = Evaluation({"fid": FID()}, extractor, data, num_samples=50, cache_dir=tmp_path)
    expected = FID().distance(extractor(images).vectors, evaluation.real)
    assert results(run)[0]["values"]["fid"]["value"] == pytest.approx(expected, rel=1e-6)


def test_the_batch_size_does_not_matter(command: Run, run: Path) -> None:
    for size in (7, 50):
        out = f"out={run / f'batch{size}'}"
        assert command("eval.py", f"ckpt_path={run}", f"batch_size={size}", out, *QUICK).returncode == 0
    one, other = (json.loads((run / f"batch{size}" / "results.jsonl").read_text()) for size in (7, 50))
    assert one["values"]["fid"]["value"] == pytest.approx(other["values"]["fid"]["value"], rel=1e-6)


def test_two_processes_give_the_figures_of_one(command: Run, run: Path, tmp_path: Path) -> None:
    arguments = (f"ckpt_path={run}", "metrics=[fid,is,precision_recall,prompt_accuracy]", *QUICK, "num_samples=51")
    assert command("eval.py", *arguments, f"out={tmp_path / 'one'}").returncode == 0
    shutil.rmtree(tmp_path / "cache")  # the reference is computed by both, too
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "eval.py"), *arguments, f"out={tmp_path / 'two'}"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / name / "results.jsonl").read_text()) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for name, entry in one["values"].items():
        assert two["values"][name]["value"] == pytest.approx(entry["value"], rel=1e-6), name
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 1


def test_a_grid_makes_a_table_and_a_figure_and_is_not_measured_twice(command: Run, run: Path) -> None:
    grid = ("-m", f"ckpt_path={run}", "sampler=ddim,heun", "sampler.num_steps=2,4", *QUICK[::2])
    first = command("eval.py", *grid, "device=cpu", "progress=false")
    assert first.returncode == 0, first.stderr
    assert {(found["sampler"]["name"], found["num_steps"]) for found in results(run)} == {
        (sampler, steps) for sampler in ("ddim", "heun") for steps in (2, 4)
    }
    assert (run / "evaluation" / "quality.png").read_bytes().startswith(b"\x89PNG")
    again = command("eval.py", *grid[:-3], "sampler.num_steps=2,4,5", *grid[-3:], "device=cpu", "progress=false")
    assert again.returncode == 0 and again.stdout.count("(measured before)") == 4
    assert len(results(run)) == 6 and len((run / "evaluation" / "table.md").read_text().splitlines()) == 2 + 6


def test_only_the_missing_metric_is_added_and_a_trained_on_model_is_measured_anew(command: Run, run: Path) -> None:
    base = ("eval.py", f"ckpt_path={run}", *QUICK)
    assert command(*base, "metrics=[fid]").returncode == 0
    assert command(*base, "metrics=[fid,is]").returncode == 0
    assert [list(found["values"]) for found in results(run)] == [["fid"], ["is"]]
    assert len((run / "evaluation" / "table.md").read_text().splitlines()) == 3
    with (run / "evaluation" / "results.jsonl").open("a") as file:
        file.write('{"values": {"fi')  # a process killed while it wrote
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**checkpoint, "global_step": 99}, run / "checkpoints" / "last.ckpt")
    done = command(*base, "metrics=[fid]")
    assert done.returncode == 0 and "measured before" not in done.stdout
    assert "step 99" in (run / "evaluation" / "table.md").read_text()


def test_a_moved_run_keeps_its_results(command: Run, run: Path) -> None:
    assert command("eval.py", f"ckpt_path={run}", *QUICK).returncode == 0
    moved = run.rename(run.parent / "elsewhere")
    assert "(measured before)" in command("eval.py", f"ckpt_path={moved}", *QUICK).stdout


def test_the_identity_is_that_of_the_weights_that_were_loaded(
    command: Run, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that goes on replaces last.ckpt while its samples are drawn."""
    file = run / "checkpoints" / "last.ckpt"
    content, sha256 = torch.load(file, weights_only=True), hashlib.sha256(file.read_bytes()).hexdigest()
    load = torch.load

    def replaced_at_once(opened: Any, **settings: Any) -> Any:
        found = load(opened, **settings)
        newer = file.with_suffix(".new")
        torch.save({**content, "global_step": 999, "epoch": 99}, newer)
        newer.replace(file)
        return found

    monkeypatch.setattr(torch, "load", replaced_at_once)
    done = command("eval.py", f"ckpt_path={run}", *QUICK)
    assert done.returncode == 0, done.stderr
    (found,) = results(run)
    expected = {"sha256": sha256, "step": content["global_step"], "epoch": content["epoch"]}
    assert {name: found["checkpoint"][name] for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metrics=[fid,fud]"], "metrics=fud: no such choice; did you mean fid?"),
        (["metrics=[]"], "metrics=[]: at least one is needed"),
        (["extractor=vgg"], "extractor=vgg: no such choice; "),
        (["extractor.dataset=stars"], "extractor.dataset=stars: no classifier for it; choices: "),
        (["extractor=inception", "extractor.weights=none.pth"], "extractor.weights=none.pth: no such file"),
        (["metrics=[kid]"], "num_samples=50: kid needs at least one subset of 1000"),
        (
            ["metrics=[kid]", "num_samples=9999", "split=val"],
            "metrics.kid.subset_size=1000: at most 180 is expected, as many",
        ),
        (
            ["metrics=[precision_recall]", "num_samples=9999", "split=val", "metrics.precision_recall.k=180"],
            "metrics.precision_recall.k=180: at most 179 is expected, because 180 real images take part",
        ),
        (["num_samples=0"], "num_samples=0: 1 or more is expected"),
        (["num_samples=many"], "num_samples=many: int is expected"),
        (
            ["split=test"],
            "split=test: this data set keeps no images apart from those to train and to validate on; choices",
        ),
        (["split=both"], "split=both: one of train, val, test is expected"),
        (["precision=8"], "precision=8: "),
        (["weights=best"], "weights=best: one of ema, raw is expected"),
        (["nu_samples=5"], "nu_samples: no such key; "),
        (["sampler.num_steps=0"], "sampler.num_steps=0: "),
        (["dataset=fashion", "dataset.data_dir=."], "model: made for images of 1x16x16"),
        (["dataset.batch_size=3"], "dataset.batch_size: no such key"),
        (["out=config.txt/x"], "out=config.txt/x: no folder can be made there"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str], message: str, command: Run, trained: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "config.txt").write_text("a file")
    if "dataset=fashion" in arguments:
        arguments = ["dataset=fashion", f"data_dir={request.getfixturevalue('real_data')}"]
    if "extractor=inception" in arguments:
        pytest.importorskip("torch_fidelity")
    done = command("eval.py", f"ckpt_path={trained}", *QUICK, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ") and message in done.stderr
    assert not (trained / "evaluation").exists()


def test_an_unconditional_model_is_not_asked_for_prompts(command: Run, tmp_path: Path) -> None:
    train(tiny("trainer.max_epochs=1"), tmp_path / "plain")
    done = command("eval.py", f"ckpt_path={tmp_path / 'plain'}", "metrics=[prompt_accuracy]", *QUICK)
    assert done.returncode == 2 and "this model is unconditional" in done.stderr


def test_the_config_of_a_strangers_run_runs_no_code(command: Run, run: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["dataset"] = {"_target_": "os.mkdir", "path": str(tmp_path / "ran")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    done = command("eval.py", f"ckpt_path={run}", *QUICK)
    assert done.returncode == 2 and "a file may only name" in done.stderr and not (tmp_path / "ran").exists()
    (run / "config.yaml").unlink()
    done = command("eval.py", f"ckpt_path={run}", *QUICK)
    assert done.returncode == 0, done.stderr  # the checkpoint itself knows the data set
