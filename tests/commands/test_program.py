"""The command lightdiff, help, and commands in messages in the form in which the user typed them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import lightdiff
from lightdiff import __main__ as program
from lightdiff.utils.program import restart, typed
from runs import ROOT, TINY

Run = Callable[..., subprocess.CompletedProcess[str]]


def lightdiff_says(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["bin/lightdiff", *arguments])
    assert program.main() == 0
    return capsys.readouterr().out


def test_the_version_is_that_of_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lightdiff_says(["--version"], monkeypatch, capsys) == f"lightdiff {lightdiff.__version__}\n"
    usage = lightdiff_says([], monkeypatch, capsys)
    assert all(
        command in usage for command in ("train", "sample", "edit", "restore", "eval", "export", "play", "report")
    )


def test_an_unknown_command_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bin/lightdiff", "trian"])
    assert program.main() == 2
    assert (
        capsys.readouterr().err
        == "error: trian: no such command; choices: train, sample, edit, restore, eval, export, play, report\n"
    )


@pytest.mark.slow
def test_python_m_lightdiff_trains_and_two_processes_start_as_it_was_started(run_module: Run, tmp_path: Path) -> None:
    done = run_module("-m", "lightdiff", "train", *TINY, "trainer.devices=2", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lightning_logs" / "digits" / "version_0" / "result.json").is_file()
    again = run_module("-m", "lightdiff", "train", "resume=lightning_logs/digits/version_0")
    assert "train on with: lightdiff train resume=lightning_logs/digits/version_0" in again.stdout


@pytest.mark.parametrize(
    ("argv0", "expected"),
    [("train.py", "python train.py"), ("x/sample.py", "python train.py"), ("bin/lightdiff", "lightdiff train")],
)
def test_messages_repeat_the_form_that_was_typed(argv0: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [argv0])
    assert typed("train") == expected


def test_without_an_activated_environment_messages_show_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the command that a message shows would start another Python, which has no lightdiff."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "lightdiff"):
        (tmp_path / ".venv" / "bin" / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert typed("train") == ".venv/bin/python train.py"
    monkeypatch.setattr(sys, "argv", [".venv/bin/lightdiff"])
    assert typed("train") == ".venv/bin/lightdiff train"
    monkeypatch.setenv("PATH", str(tmp_path / ".venv" / "bin"))
    assert typed("train") == "lightdiff train"


def test_a_job_is_started_in_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), "seed=1"])
    assert restart("train") == [sys.executable, str(ROOT / "train.py")]
    monkeypatch.setattr(sys, "argv", ["bin/lightdiff", "train"])
    assert restart("train") == [sys.executable, "-m", "lightdiff", "train"]


@pytest.mark.parametrize(
    "script", ["train.py", "sample.py", "edit.py", "restore.py", "eval.py", "export.py", "play.py"]
)
def test_help_lists_the_keys_with_their_comments(script: str, command: Run, tmp_path: Path) -> None:
    shown = command(script, "--help").stdout
    text = (ROOT / "conf" / f"{Path(script).stem}.yaml").read_text()
    top = text.partition("hydra:\n")[0]
    keys = [key for key in re.findall(r"^(\w+): ", top, re.MULTILINE) if key != "defaults"]
    assert len(keys) > 3
    for key in keys:
        [line] = [line for line in shown.splitlines() if line.startswith(f"{key}=")]
        assert len(line.split(None, 1)[1]) > 10, line
    assert [*tmp_path.iterdir()] == []


def test_help_lists_only_the_groups_that_a_command_takes(command: Run) -> None:
    groups = re.compile(r"^(\w+): ", re.MULTILINE)
    assert groups.findall(command("sample.py", "--help").stdout) == ["guidance", "sampler"]
    assert groups.findall(command("eval.py", "-h").stdout) == ["dataset", "extractor", "guidance", "metrics", "sampler"]
    training = command("train.py", "--help").stdout
    assert {"dataset", "model", "schedule", "objective", "trainer", "experiment"} <= {*groups.findall(training)}
    for key in ("trainer.max_epochs=10", "dataset.batch_size=128", "optimizer.lr="):
        assert f"\n{key}" in training


def test_an_own_configuration_adds_to_it(command: Run, tmp_path: Path) -> None:
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /dataset: digits\nseed: 7\n")
    shown = command("train.py", "--config-dir", str(own.parent), "experiment=mine", "--cfg", "job").stdout
    assert "seed: 7" in shown and "name: digits" in shown
    done = command("train.py", *TINY, "--config-dir", str(own.parent), "experiment=mine", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    wrong = command("train.py", "--config-dir", str(own.parent), "experiment=mien")
    assert wrong.stderr.startswith("error: experiment=mien: no such choice; did you mean mine? choices: cars")
