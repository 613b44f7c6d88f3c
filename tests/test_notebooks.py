"""Every notebook runs from top to bottom, from any folder, and is stored with its pictures."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from execute_notebook import BAR, execute
from lightdiff.config.extras import EXTRAS
from lightdiff.data import DataError, DiffSet
from runs import ROOT, tiny, train

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
THREE_SETS = "04_mnist_fashion_cifar"
LONG = ("03_compare_samplers", THREE_SETS)
RUN = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in NOTEBOOKS]
"""The notebooks, of which those that draw many samples or read three large data sets take a while."""
BLOCKED = ROOT / "tests" / "blocked"
OPTIONAL = [module for modules in EXTRAS.values() for module in modules if "." not in module]
PICTURES = {"image/png", "image/gif"}
UNWANTED = re.compile(r"Warning|Tip:|GPU available|TPU available|lit\.ai|litlogger|litmodels|`Trainer")
ABSOLUTE = re.compile(r"(?<![\w.\\])/(?:home|root|work|tmp|usr|opt|var|Users|mnt|private)/|[A-Z]:\\\\|site-packages")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run with classes."""
    folder = tmp_path_factory.mktemp("runs") / "digits" / "version_0"
    train(tiny("trainer.max_epochs=1", "conditioning=label", "schedule=flow", "objective=flow"), folder)
    return folder


@pytest.fixture
def base_installation(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let kernels find the project's sources, and no package that the base installation lacks."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}{os.pathsep}{BLOCKED}")
    monkeypatch.setenv("LIGHTDIFF_BLOCKED", ",".join(OPTIONAL))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return monkeypatch


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def written(code: str) -> NotebookNode:
    """Return a notebook with one cell."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def text(output: NotebookNode) -> str:
    """Return what a person reads of an output, pictures aside."""
    return str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))


def cells_with_pictures(notebook: NotebookNode) -> list[int]:
    """Return the numbers of the cells that show at least one picture."""
    return [
        number
        for number, cell in enumerate(notebook.cells, start=1)
        if any(PICTURES & output.get("data", {}).keys() for output in cell.get("outputs", []))
    ]


def check_clean(notebook: NotebookNode) -> None:
    """Check that nothing was written to stderr, and no warning, advertisement or path of this machine was shown."""
    for output in outputs(notebook):
        assert output.get("name") != "stderr", text(output)
        assert not UNWANTED.search(text(output)), text(output)
        assert not ABSOLUTE.search(text(output)), text(output)


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_a_notebook_runs_in_its_folder(
    path: Path, run: Path, tmp_path: Path, base_installation: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    shortened = {"LIGHTDIFF_RUN": run, "LIGHTDIFF_EPOCHS": 1, "LIGHTDIFF_STEPS": 5, "LIGHTDIFF_LOGS": tmp_path}
    shortened |= {"LIGHTDIFF_BATCHES": 2, "LIGHTDIFF_IMAGES": 10}
    if path.stem == THREE_SETS:
        shortened["LIGHTDIFF_DATA"] = request.getfixturevalue("real_data")
    for variable, value in shortened.items():
        base_installation.setenv(variable, str(value))
    executed = execute(read(path), path.parent)
    check_clean(executed)
    assert cells_with_pictures(executed) == cells_with_pictures(read(path)) != []


def test_missing_data_sets_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a network, in a folder that has none of the three."""
    monkeypatch.setenv("LIGHTDIFF_DATA", str(tmp_path))
    monkeypatch.setattr("lightdiff.data.download.any_answers", lambda urls: False)
    (cell,) = [
        cell.source for cell in read(ROOT / "notebooks" / f"{THREE_SETS}.ipynb").cells if "prepare_data" in cell.source
    ]
    with pytest.raises(DataError, match="none of the three data sets is at hand.*LIGHTDIFF_DATA"):
        exec(
            cell, {"DataError": DataError, "DiffSet": DiffSet, "IN_FULL": True, "Path": Path, "batch_size": 8, "os": os}
        )
    shown = capsys.readouterr().out
    for name in ("MNIST", "Fashion", "CIFAR"):
        assert f"{name} is left out, because its files are missing: " in shown


def test_without_a_run_a_notebook_takes_the_model_that_comes_along(
    tmp_path: Path, base_installation: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    for folder in ("src/lightdiff", "models/mnist_fast"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    base_installation.setenv("PYTHONPATH", f"{clone / 'src'}{os.pathsep}{BLOCKED}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    executed = execute(read(ROOT / "notebooks" / "01_reload_and_sample.ipynb"), elsewhere)
    check_clean(executed)
    assert "models/mnist_fast" in "".join(map(text, outputs(executed)))
    assert cells_with_pictures(executed)


SAMPLING = "from lightdiff import load_model\nimages = load_model({!r}).sample(1, num_steps=2, progress=True)"


def test_sampling_shows_a_bar(run: Path, tmp_path: Path, base_installation: pytest.MonkeyPatch) -> None:
    executed = execute(written(SAMPLING.format(str(run))), tmp_path)
    check_clean(executed)
    assert "sampl" in "".join(map(text, outputs(executed)))


def test_without_ipywidgets_the_bar_is_text_and_nothing_warns(
    run: Path, tmp_path: Path, base_installation: pytest.MonkeyPatch
) -> None:
    code = f"import sys\nsys.modules['ipywidgets'] = None\n{SAMPLING.format(str(run))}"
    shown = outputs(execute(written(code), tmp_path))
    assert not any(BAR in output.get("data", {}) for output in shown)
    assert "sampl" in "".join(map(text, shown)) and not UNWANTED.search("".join(map(text, shown)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_ran(path: Path) -> None:
    notebook = read(path)
    check_clean(notebook)
    numbers = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert path.stat().st_size < 1_500_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_it_needs(path: Path) -> None:
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert "pip install -e '.[notebooks]'" in first.source and "jupyter lab notebooks" in first.source
