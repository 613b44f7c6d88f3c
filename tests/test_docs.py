"""No page of the documentation names a command, key, file or heading that does not exist, and the README's Python runs."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lightdiff
from pages import blocks, faults, text_of
from typed_commands import ROOT
from waiting import PATIENCE

FOLDERS = (".", "docs", "docs/api", "docs/tutorials", "models", "lightning_logs", "notebooks", ".github")
PAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*") if path.suffix in (".md", ".ipynb"))
PYTHON = [(path, block) for path in PAGES for block in blocks(text_of(path), "python")]
NOT_AT_HAND = ("lightning_logs/", "photos", "...", "hf://", "ddpm-cifar10")
RUN = """
import sys, json, lightdiff
for block in json.load(sys.stdin):
    exec(compile(block, block, "exec"), {"__name__": "__main__"})
"""


def runnable(page: Path) -> list[str]:
    """Return the Python blocks of a page that need no folder of the reader's."""
    return [block for block in blocks(text_of(page), "python") if not any(name in block for name in NOT_AT_HAND)]


def name_of(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_everything_on_the_page_exists(page: Path) -> None:
    assert faults(page) == []


@pytest.mark.parametrize(("page", "block"), PYTHON, ids=name_of)
def test_python_on_the_page_imports_names_that_exist(page: Path, block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lightdiff"):
            module = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_python_on_the_page_runs_in_a_folder_with_the_models(page: Path, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        input=json.dumps(runnable(page)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_python_that_runs() -> None:
    assert any("models/mnist_fast" in block for block in runnable(ROOT / "README.md"))


WRONG = {
    "a key": ("```bash\npython train.py optimizer.learning_rate=1e-3\n```", "optimizer.learning_rate"),
    "a choice": ("```bash\npython train.py -m schedule=linear,cosine objective=epsilonn\n```", "epsilonn"),
    "a key in a sweep over lines": (
        "```bash\npython eval.py -m ckpt_path=... \\\n    sampler.steps=1,2\n```",
        "sampler.steps",
    ),
    "a key in a variable": ('```bash\nS="sampler.steps=3"\npython sample.py $S ckpt_path=...\n```', "sampler.steps"),
    "an option": ("```bash\npython train.py --confg job\n```", "--confg"),
    "an option of a script": ("```bash\npython bench/run.py --parts a --fast\n```", "--fast"),
    "a script": ("```bash\npython trian.py\n```", "trian.py"),
    "a target": ("```bash\nmake trian\n```", "trian"),
    "a key for make": ('```bash\nmake train ARGS="trainer.epochs=3"\n```', "trainer.epochs"),
    "an extra": ("```bash\npip install -e '.[swep]'\n```", "swep"),
    "a program": ("```bash\npyton train.py\n```", "pyton"),
    "a command of the package": ("```bash\nlightdiff trian\n```", "trian"),
    "an inline command": ("Type `python sample.py ckpt_path=x num_sample=3`.", "num_sample"),
    "an inline setting": ("Set `dataset.on_corupted=skip`.", "on_corupted"),
    "an inline path": ("See `tests/nowhere`.", "tests/nowhere"),
    "a link": ("[here](nowhere.md)", "nowhere.md"),
    "a heading": ("# One\n\n[here](#two)", "#two"),
    "a picture": ("![there](images/nowhere.png)", "nowhere.png"),
    "a picture in HTML": ('<img alt="there" src="images/nowhere.gif">', "nowhere.gif"),
}


@pytest.mark.parametrize(("text", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_page_is_found(text: str, named: str, tmp_path: Path) -> None:
    page = tmp_path / "wrong.md"
    page.write_text(text + "\n")
    assert [named in fault for fault in faults(page)] == [True]


def test_a_right_page_passes(tmp_path: Path) -> None:
    (tmp_path / "there.png").touch()
    page = tmp_path / "right.md"
    page.write_text(
        "# A heading\n\n[up](#a-heading) ![there](there.png) `dataset=digits seed=1` `conf/sampler/<name>.yaml`\n\n"
        "```bash\nS='sampler=ddim,heun'  # a sweep\npython eval.py -m ckpt_path=... $S   # each\n"
        "torchrun --nproc-per-node 2 train.py trainer.devices=2\nmake train ARGS='trainer.max_epochs=1'\n"
        "eval \"$(python train.py -sc install=bash)\"\npip install -e '.[sweep,text]' && lightdiff --version\n```\n"
    )
    assert faults(page) == []


# CI builds it by `make docs` as well
@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "sphinx -W --keep-going -q -c docs . docs/_build/html" in makefile
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", str(tmp_path / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "docs" / "index.html").is_file()
    assert "docs/index.html" in (tmp_path / "html" / "index.html").read_text()


def test_citation_and_changelog_name_the_version() -> None:
    version = lightdiff.__version__.partition(".dev")[0]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=name_of)
def test_issue_forms_are_complete(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= content.keys()
    assert all(part["type"] in ("markdown", "textarea", "checkboxes") for part in content["body"])
