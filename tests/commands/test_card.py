"""The model card of an export: what it states was measured of these very weights, and its picture is what the file draws."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import yaml

from lightdiff import load_model
from lightdiff.commands.card.page import _table
from lightdiff.data import SOURCES
from lightdiff.utils.images import enlarge, make_grid, to_uint8
from runs import ROOT, tiny, train

Command = Callable[..., CompletedProcess[str]]
QUICK = ("num_samples=50", "sampler.num_steps=2", "progress=false", "cache_dir=cache", "device=cpu")
MODELS = ROOT / "models"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a class-conditional run on the digits."""
    folder = tmp_path_factory.mktemp("card") / "digits" / "version_0"
    train(tiny("conditioning=label", "schedule=flow", "objective=flow", "callbacks=no_samples"), folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The same, to write to."""
    return Path(shutil.copytree(trained, tmp_path / "digits" / "version_0"))


def card(command: Command, path: Path, *settings: str) -> tuple[dict[str, Any], str]:
    """Metadata and text of the card of an export into the folder "mine"."""
    done = command("export.py", f"ckpt_path={path}", "out=mine", *settings)
    assert done.returncode == 0, done.stderr
    text = (Path.cwd() / "mine" / "README.md").read_text(encoding="utf-8")
    empty, metadata, page = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(metadata), page


def test_it_says_what_the_model_was_trained_on_and_how(run: Path, command: Command) -> None:
    metadata, page = card(command, run, "license=mit")
    assert metadata["license"] == "mit" and metadata["library_name"] == "lightdiff"
    assert not {"metrics", "datasets", "pipeline_tag"} & set(metadata)
    rows = dict(re.findall(r"^\| (\S.*?) \| (.*?) \|$", page, re.MULTILINE))
    expected = {
        "data set": "digits",
        "training images": "1,617",
        "licence of the data": "CC BY 4.0",
        "images": "16x16, 1 channel",
        "parameters": f"{sum(value.numel() for value in load_model(run).trained.parameters()):,}",
        "schedule": "flow",
        "conditioning": "label",
        "optimizer steps": "14",
        "epochs": "2",
        "batch size": "16",
    }
    assert {name: rows[name] for name in expected} == expected
    result = json.loads((run / "result.json").read_text())["metrics"]["val/loss"]
    assert rows["val/loss"] == f"{result:.4g}, measured at step 14"
    assert rows["minutes"].endswith(" (CPU, 1 thread)") and float(rows["minutes"].split()[0]) < 60
    assert "Nothing was measured." in page
    assert str(run.parent.parent) not in page


def test_figures_are_those_of_these_weights(run: Path, command: Command) -> None:
    for weights in ("ema", "raw"):
        assert command("eval.py", f"ckpt_path={run}", f"weights={weights}", *QUICK).returncode == 0
    path = run / "evaluation" / "results.jsonl"
    ema, raw = map(json.loads, path.read_text().splitlines())
    other, infinite = json.loads(json.dumps(ema)), json.loads(json.dumps(ema))
    other["checkpoint"]["sha256"], other["values"]["fid"]["value"] = "0" * 64, 0.0123
    infinite["values"] = {"kid": {"value": float("nan"), "spread": None}}
    during = {**ema, "checkpoint": {"file": None, "step": 7}, "values": {"is": {"value": 9.876, "spread": None}}}
    at_the_end = {**during, "checkpoint": {"file": None, "step": 14}, "values": {"is": {"value": 5.432, "spread": 0.1}}}
    path.write_text("".join(f"{json.dumps(record)}\n" for record in (ema, raw, other, infinite, during, at_the_end)))
    metadata, page = card(command, run, "half=true")
    assert metadata["metrics"] == ["fid", "is"]
    figures = page.partition("## Figures")[2]
    protocol = "ddim, 2 steps, no guidance, 50 samples, seed 0, 32-true"
    assert (
        f"| fid | {ema['values']['fid']['value']:.4g} | {protocol} | 1,617 images of digits train; features" in figures
    )
    assert "| is | 5.432 ± 0.1 |" in figures
    for wrong in (f"{raw['values']['fid']['value']:.4g}", "0.0123", "kid", "nan", "9.876"):
        assert wrong not in figures
    assert "before the weights were rounded to 16-bit numbers" in figures


@pytest.mark.parametrize("half", ["false", "true"])
def test_the_picture_is_what_the_file_draws(half: str, run: Path, command: Command) -> None:
    _, page = card(command, run, f"half={half}", "samples=10")
    assert "![samples](samples.png)" in page
    assert "10 images that this model draws with ddim, 50 steps, seed 0, without guidance, every class in turn." in page
    images = load_model("mine").sample(10, sampler="ddim", num_steps=50, seed=0)
    expected = enlarge(make_grid(to_uint8(images), 8))[0].numpy()
    assert np.array_equal(iio.imread("mine/samples.png"), expected)


def test_the_python_of_the_card_runs(run: Path, command: Command) -> None:
    _, page = card(command, run, "samples=1")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    assert names["images"].shape == (16, 1, 16, 16)


def test_a_model_without_its_run_has_no_figures(command: Command, tmp_path: Path) -> None:
    metadata, page = card(command, MODELS / "mnist_fast", "samples=0")
    assert metadata["license"] == "unknown" and metadata["datasets"] == ["ylecun/mnist"]
    assert "| licence of the data | CC BY-SA 3.0 |" in page
    assert "Nothing is known of it." in page and "Nothing was measured." in page
    assert not (tmp_path / "mine" / "samples.png").exists() and "samples.png" not in page


def test_a_few_step_model_is_drawn_in_few_steps(command: Command) -> None:
    _, page = card(command, MODELS / "mnist_one_step", "samples=2")
    assert "2 images that this model draws with ddim, 4 steps" in page


def test_a_model_that_takes_images_has_no_picture_and_asks_for_them(command: Command, tmp_path: Path) -> None:
    metadata, page = card(command, MODELS / "mnist_super_resolution")
    assert metadata["pipeline_tag"] == "image-to-image"
    assert "condition=IMAGES" in page and "condition=images" in page
    assert not (tmp_path / "mine" / "samples.png").exists()


def test_texts_of_strangers_stay_text(command: Command, tmp_path: Path) -> None:
    model = Path(shutil.copytree(MODELS / "mnist_fast", tmp_path / "given"))
    content = json.loads((model / "config.json").read_text())
    content["lightdiff"]["dataset"]["name"] = "a | b\n---\nlicense: mit <script>"
    (model / "config.json").write_text(json.dumps(content))
    metadata, page = card(command, model, "samples=0")
    assert metadata["license"] == "unknown"
    assert "a \\| b?---?license: mit \\<script\\>" in page
    assert _table(["a"], [["x|y"]]).splitlines()[2] == "| x\\|y |"


def test_every_data_set_states_its_licence() -> None:
    unknown = "that of the images, which only their owner knows"
    assert {name: source.licence for name, source in SOURCES.items()} == {
        "mnist": "CC BY-SA 3.0",
        "fashion": "MIT",
        "cifar": "none stated",
        "digits": "CC BY 4.0",
        "emoji": "Apache-2.0 (Noto Emoji)",
        "cars": "unknown",
        "folder": unknown,
        "paired": unknown,
    }


@pytest.mark.parametrize("samples", ["-1", "65"])
def test_a_picture_has_a_sensible_number_of_images(samples: str, command: Command) -> None:
    done = command("export.py", f"ckpt_path={MODELS / 'mnist_fast'}", "out=mine", f"samples={samples}")
    assert done.returncode == 2 and done.stderr == f"error: samples={samples}: 0 to 64 is expected\n"
