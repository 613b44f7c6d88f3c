"""docs/extending.md is true to the letter: its files are written, its commands typed, its Python run, one kind of part at a time.

Classes that a file names are imported only on request.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lightdiff import DiffusionModel
from pages import anchors
from typed_commands import ROOT, lines_of

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"(?:# @package _global_\n)?# ((?:mylab|conf)/\S+)\n")
ROW = re.compile(r"^\| \[.+\]\(#([\w-]+)\) \| `([\w.]+)` \| `([\w/]+)` \| (.+) \|$", re.MULTILINE)
IMPORTED = "imported"
"""Name of the file that the package leaves behind when it is imported."""
MARKER = f'from pathlib import Path\n\nPath("{IMPORTED}").touch()\n'
"""Content of mylab/__init__.py."""


class Block(NamedTuple):
    """A block of code on the page: python, yaml, bash or text. `file` is the name in its first line, if there is one."""

    language: str
    text: str
    file: str | None


def blocks_of(text: str) -> list[Block]:
    titles = ((language, code, TITLE.match(code)) for language, code in BLOCK.findall(text))
    return [Block(language, code, title[1] if title else None) for language, code, title in titles]


SECTIONS = {
    heading: blocks_of(text)
    for heading, text in (part.split("\n", maxsplit=1) for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
}
TABLE = {row[1]: row for row in ROW.finditer(PAGE)}
"""Row of the page's table -> anchor of the heading that it links to."""
PARTS = {heading: blocks for heading, blocks in SECTIONS.items() if heading.lower().replace(" ", "-") in TABLE}
EVERYTHING = (
    *("model=plain_cnn", "schedule=shifted_flow", "objective/prediction=residual", "objective/weighting=soft_min_snr"),
    *("codec=standardised", "conditioning=ordered", "dataset=numpy_file", "sampler=fresh_noise"),
    *("callbacks=weight_norm", "logger=json_lines"),
)
QUICK = ("--config-dir", "conf", "experiment=quick")
RUN = "lightning_logs/numpy_file/version_0"
TRUST = "trust=[mylab]"
OF_A_TRAINED_MODEL = {
    "sample.py": (f"ckpt_path={RUN}", "num_samples=2", "sampler.num_steps=2"),
    "eval.py": (f"ckpt_path={RUN}", "num_samples=10", "sampler.num_steps=2", "extractor.dataset=digits"),
    "edit.py": (f"ckpt_path={RUN}", "image=digit.png", "sampler.num_steps=4"),
    "export.py": (f"ckpt_path={RUN}", "out=shared"),
}
Command = Callable[..., Any]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like the page's my_project, with the quick recipe and a package that tells when it is imported."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").write_text(MARKER)
    monkeypatch.chdir(tmp_path)
    # what `export PYTHONPATH=.` does for a process
    monkeypatch.syspath_prepend(str(tmp_path))
    write(SECTIONS["The layout"])
    yield tmp_path
    forget()


def forget() -> None:
    """Let the next command import the package anew, as a process of its own does."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]
    Path(IMPORTED).unlink(missing_ok=True)


def write(blocks: list[Block]) -> None:
    """Write the files that the blocks show."""
    for block in blocks:
        if block.file:
            path = Path(block.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def type_in(line: str, command: Command) -> Any:
    """Type a line of the page, and check that it ends well and leaves what it promises."""
    program, name, *arguments = shlex.split(line)
    assert program == "lightdiff"
    forget()
    done = command(f"{name}.py", *arguments)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    settings = dict(argument.split("=", maxsplit=1) for argument in arguments if "=" in argument)
    LEAVES[name](settings)
    return done


def leaves_run(settings: dict[str, str]) -> None:
    folder = Path(settings["resume"]) if "resume" in settings else newest("lightning_logs/*/version_*")
    result = json.loads((folder / "result.json").read_text())
    assert result["epochs"] == int(settings.get("trainer.max_epochs", 1))
    assert (folder / "checkpoints" / "last.ckpt").is_file()


def leaves_images(settings: dict[str, str]) -> None:
    drawn = newest(f"{settings['ckpt_path']}/samples/*/samples.json")
    assert (drawn.with_name("grid.png")).is_file()
    assert (drawn.with_name("process.gif")).is_file()


def leaves_figures(settings: dict[str, str]) -> None:
    results = Path(settings["ckpt_path"]) / "evaluation" / "results.jsonl"
    records = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(records) == len(settings.get("sampler", "ddim").split(","))
    assert all(value["value"] is not None for record in records for value in record["values"].values())


def leaves_export(settings: dict[str, str]) -> None:
    assert (Path(settings["out"]) / "model.safetensors").is_file()


LEAVES = {"train": leaves_run, "sample": leaves_images, "eval": leaves_figures, "export": leaves_export}
"""Command -> check of what it leaves behind."""


def newest(pattern: str) -> Path:
    return max(Path().glob(pattern), key=lambda path: path.stat().st_mtime)


def test_the_page_has_an_example_for_each_kind_of_part() -> None:
    assert {anchor for anchor in TABLE if anchor not in anchors(PAGE)} == set()
    assert len(PARTS) == len(TABLE) == 13
    for heading, blocks in PARTS.items():
        kinds = {(block.language, block.file is not None) for block in blocks}
        assert {("python", True), ("yaml", True), ("bash", False)} <= kinds, heading


@pytest.mark.parametrize("heading", PARTS)
def test_a_part_of_ones_own_works_as_the_page_says(heading: str, project: Path, command: Command) -> None:
    write(PARTS[heading])
    for block in PARTS[heading]:
        if block.file is None and block.language == "python":
            forget()
            exec(compile(block.text, "extending.md", "exec"), {})
        elif block.language == "bash":
            for line in lines_of(block.text):
                type_in(line, command)
    check_who_names(heading)


def check_who_names(heading: str) -> None:
    """Check the last column of the table: the file that names the class."""
    anchor = heading.lower().replace(" ", "-")
    module = next(block.file for block in PARTS[heading] if block.file and block.language == "python")
    name = module.removesuffix(".py").replace("/", ".") + "."
    _, _, group, names = TABLE[anchor].groups()
    assert any((block.file or "").startswith(f"conf/{group}/") for block in PARTS[heading])
    folder = next(Path().glob("lightning_logs/*/version_0"))
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["lightdiff"]
    assert (name in str(checkpoint)) == ("the checkpoint" in names)
    assert (name in (folder / "config.yaml").read_text()) == ("nobody" not in names)


@pytest.fixture
def run_of_everything(project: Path, command: Command) -> str:
    """A run with parts of one's own of every kind; the fixture returns what its training has printed."""
    for blocks in PARTS.values():
        write(blocks)
    images = torch.randint(0, 256, (64, 16, 16, 1), dtype=torch.uint8)
    (project / "data").mkdir()
    np.savez(project / "data" / "images.npz", images=images.numpy(), labels=(torch.arange(64) % 10).numpy())
    Image.fromarray(images[0, :, :, 0].numpy()).save("digit.png")
    done = command("train.py", *QUICK, *EVERYTHING, "callbacks.samples=null", "callbacks.data=null")
    assert done.returncode == 0, done.stderr
    forget()
    return done.stdout


def test_without_trust_nothing_is_imported(run_of_everything: str, command: Command) -> None:
    before = sorted(Path().rglob("*"))
    usual = ("dataset=digits", "model=unet_small", f"init_from={RUN}")
    refused = [
        *OF_A_TRAINED_MODEL.items(),
        ("train.py", (f"resume={RUN}", "trainer.max_epochs=2")),
        ("train.py", usual),
    ]
    for script, arguments in refused:
        for others in ((), ("trust=[another]",)):
            done = command(script, *arguments, *others)
            assert done.returncode == 2, (script, done.stdout, done.stderr)
            assert done.stderr.count("\n") == 1
            assert re.match(r"error: \S+.*_target_=mylab\.\w+\.\w+: .*trust=", done.stderr), done.stderr
            assert not Path(IMPORTED).exists(), script
    assert sorted(Path().rglob("*")) == before


def test_with_trust_every_command_works(run_of_everything: str, command: Command) -> None:
    weights = torch.load(f"{RUN}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for script, arguments in OF_A_TRAINED_MODEL.items():
        done = command(script, *arguments, TRUST)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        assert Path(IMPORTED).exists()
        forget()
    loaded = DiffusionModel.load_from_checkpoint(RUN, trust="mylab", weights="raw")
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    done = command("train.py", *QUICK, *EVERYTHING, "callbacks.samples=null", f"init_from={RUN}", TRUST)
    assert done.returncode == 0, done.stderr
    assert json.loads(Path(RUN).with_name("version_1").joinpath("result.json").read_text())["epochs"] == 1


def test_a_finished_run_says_how_to_go_on_with_trust(run_of_everything: str, command: Command) -> None:
    typed = [line for line in run_of_everything.splitlines() if ".py " in line]
    assert len(typed) == 2
    for line in typed:
        script, *arguments = shlex.split(line.partition("python ")[2])
        assert arguments[-1] == TRUST
        done = command(script, *arguments, *(("num_samples=1", "sampler.num_steps=1") if script == "sample.py" else ()))
        assert done.returncode == 0, done.stderr
        forget()
    assert json.loads(Path(RUN, "result.json").read_text())["epochs"] == 2


def test_a_run_of_ones_own_sampler_says_that_only_resuming_needs_trust(project: Path, command: Command) -> None:
    write(PARTS["A sampler"])
    done = command("train.py", *QUICK, "sampler=fresh_noise")
    sampling, resuming = (line for line in done.stdout.splitlines() if ".py " in line)
    assert "trust" not in sampling
    assert resuming.endswith(f" '{TRUST}'")


def test_messages_are_those_of_the_page(project: Path, command: Command) -> None:
    shown = [block.text for blocks in SECTIONS.values() for block in blocks if block.text.startswith("error: ")]
    write(PARTS["A network"])
    file = Path("mylab/plain_cnn.py")
    network = file.read_text()
    file.write_text(network.replace("self.width, self.cond_dim =", "self.breadth, self.cond_dim ="))
    forgetful = command("train.py", *QUICK, "model=plain_cnn")
    assert not Path("lightning_logs/digits/version_0").exists()
    file.write_text(network)
    forget()
    assert command("train.py", *QUICK, "model=plain_cnn").returncode == 0
    distrusted = command("sample.py", "ckpt_path=lightning_logs/digits/version_0")
    assert [done.stderr for done in (forgetful, distrusted)] == shown
    assert [done.returncode for done in (forgetful, distrusted)] == [2, 2]


def test_a_sweep_and_a_command_that_goes_on_know_ones_own_parts(project: Path, command: Command) -> None:
    write(PARTS["A network"])
    typed = (*QUICK, "model=plain_cnn", "auto_resume=true")
    done = command("train.py", "-m", *typed, "model.width=4,8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder: ") == 4
    forget()
    # as if the run had been meant to train for two epochs and had been killed after the first one
    config = Path("lightning_logs/digits/version_1/config.yaml")
    config.write_text(config.read_text().replace("max_epochs: 1", "max_epochs: 2"))
    config.with_name("result.json").unlink()
    done = command("train.py", *typed, "model.width=8", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("auto_resume: going on with lightning_logs/digits/version_1\n")
    assert json.loads(config.with_name("result.json").read_text())["epochs"] == 2


def test_a_job_needs_the_names_of_the_classes(run_of_everything: str, command: Command) -> None:
    config = yaml.safe_load(Path(RUN, "config.yaml").read_text())
    assert config["trust"] == []
    names = sorted(set(re.findall(r"mylab\.\w+\.\w+", Path(RUN, "config.yaml").read_text())))
    assert len(names) == len(EVERYTHING)
    Path(RUN, "config.yaml").write_text(yaml.safe_dump({**config, "trust": ["mylab"]}))
    done = command("train.py", "--job", RUN, *names[1:])
    assert (done.returncode, names[0] in done.stderr, Path(IMPORTED).exists()) == (2, True, False)
    assert command("train.py", "--job", RUN, *names).returncode == 0


def test_a_report_imports_nothing(project: Path, command: Command, run_script: Command) -> None:
    write(PARTS["A network"])
    assert command("train.py", *QUICK, "model=plain_cnn").returncode == 0
    forget()
    done = run_script("report.py", "lightning_logs", PYTHONPATH=f".:{ROOT / 'src'}")
    assert done.returncode == 0, done.stderr
    assert "digits/version_0" in done.stdout
    assert not Path(IMPORTED).exists()


# two processes import torch for themselves
@pytest.mark.slow
def test_two_processes_share_a_run_of_ones_own_parts(run_of_everything: str, run_script: Command) -> None:
    started = ("train.py", *QUICK, *EVERYTHING, "callbacks.samples=null", "trainer.devices=2")
    done = run_script(*started, PYTHONPATH=f".:{ROOT / 'src'}")
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stdout
    resumed = ("train.py", f"resume={Path(RUN).with_name('version_1')}", "trainer.max_epochs=2")
    assert run_script(*resumed, PYTHONPATH=f".:{ROOT / 'src'}").returncode == 2
    done = run_script(*resumed, TRUST, PYTHONPATH=f".:{ROOT / 'src'}")
    assert done.returncode == 0, done.stderr


def test_a_process_finds_the_package_by_pythonpath(
    project: Path, command: Command, run_script: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(PARTS["A network"])
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(project)])
    done = command("train.py", *QUICK, "model=plain_cnn")
    assert done.returncode == 2
    assert done.stderr.endswith("; the folder that holds the package mylab has to be in PYTHONPATH\n")
    done = run_script("train.py", *QUICK, "model=plain_cnn", PYTHONPATH=f".:{ROOT / 'src'}")
    assert done.returncode == 0, done.stderr


WRONG = """
from lightdiff.metrics import Metric, Value
from mylab.thumbnails import Thumbnails


class Settingless(Metric):
    def __init__(self, limit=1):
        self.limit = limit

    def __call__(self, generated, real, extractor):
        return {"settingless": Value(0.0)}


class Nameless(Thumbnails):
    def describe(self):
        return {"name": "thumbnails"}
"""


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            ("+metrics.mine._target_=mylab.wrong.Settingless",),
            "error: metrics.mine=Settingless: a lightdiff.metrics.Metric is expected that is a dataclass, ",
        ),
        (
            ("extractor=thumbnails", "extractor._target_=mylab.wrong.Nameless"),
            "error: extractor=Nameless: every result states its name, sha256, resizer, but its describe() leaves out ",
        ),
    ],
)
def test_what_no_result_could_state_is_refused_before_images_are_drawn(
    typed: tuple[str, ...], message: str, project: Path, command: Command
) -> None:
    write(PARTS["An extractor"])
    Path("mylab/wrong.py").write_text(WRONG)
    done = command(
        "eval.py",
        "--config-dir",
        "conf",
        f"ckpt_path={ROOT / 'models/mnist_fast'}",
        "dataset=digits",
        "dataset.image_size=28",
        "out=figures",
        *typed,
    )
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not Path("figures").exists()
