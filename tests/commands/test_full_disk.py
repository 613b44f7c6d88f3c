"""A full disk: each command ends in one line with the file and the free space, and leaves a whole file or none."""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

import pytest
import torch

from lightdiff.callbacks import SampleImages
from lightdiff.commands import train_classifier
from lightdiff.commands.report import report_command
from lightdiff.config.build import build_model
from lightdiff.jobs.failures import RunFailed
from lightdiff.jobs.log_file import log_to
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.train import run_job
from lightdiff.model.content import FORMAT
from lightdiff.utils.files import append_line
from runs import tiny, train

Command = Callable[..., CompletedProcess[str]]
QUICK = ("sampler.num_steps=2", "progress=false", "device=cpu")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process and its children grow beyond so many bytes, as a quota would."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two untrained models: one of classes, and one that diffusers knows."""
    folder = tmp_path_factory.mktemp("models")
    unet = ("model=diffusers_unet_small", "model.widths=[8,16]", "model.attention_levels=[1]")
    for name, overrides in {"plain": ("conditioning=label",), "unet": unet}.items():
        model = build_model(tiny(*overrides))
        described = {"format": FORMAT, "model": model.describe()}
        torch.save({"lightdiff": described, "state_dict": model.state_dict()}, folder / f"{name}.ckpt")
    return folder


def check_failed(done: CompletedProcess[str], file: str, reason: str = "File too large") -> None:
    """Code 1 and one line that names the file, the reason and the free space."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert f"{file}: {reason}" in lines[0] and lines[0].endswith(" MB are free there"), done.stderr


FILES = {
    "grid": "grid.png",
    "png": "images/00000_0.png",
    "npz": "samples.npz",
    "gif": "process.gif",
    "mp4": "process.mp4",
    "strip": "strip.png",
    "steps": "steps/seed0_00000.png",
    "history": "history.png",
    "guidance": "guidance.png",
}


@pytest.mark.parametrize("save", list(FILES))
def test_samples_are_whole_or_not_there(save: str, models: Path, command: Command, tmp_path: Path) -> None:
    arguments = ("sample.py", f"ckpt_path={models / 'plain.ckpt'}", *QUICK, "num_samples=4", "guidance_scales=[1,2]")
    with files_of_at_most(200):
        done = command(*arguments, f"save=[{save}]", "out=new/pictures")
    reason = "the video could not be written whole" if save == "mp4" else "File too large"
    check_failed(done, f"new/pictures/{FILES[save]}", reason)
    assert list(tmp_path.iterdir()) == []


def test_former_samples_stay_as_they_were(models: Path, command: Command, tmp_path: Path) -> None:
    arguments = ("sample.py", f"ckpt_path={models / 'plain.ckpt'}", *QUICK, "num_samples=4", "save=[grid,npz]")
    assert command(*arguments, "out=pictures").returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with files_of_at_most(1000):
        check_failed(command(*arguments, "out=pictures", "overwrite=true"), "pictures/grid.png")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        (("plain", "format=safetensors"), "shared/model.safetensors"),
        (("unet", "format=diffusers"), "shared"),
        (("plain", "half=true"), "shared/model.safetensors"),
    ],
)
def test_an_export_is_whole_or_not_there(
    settings: tuple[str, str], file: str, models: Path, command: Command, tmp_path: Path
) -> None:
    with files_of_at_most(10_000):
        done = command("export.py", f"ckpt_path={models / settings[0]}.ckpt", settings[1], "out=shared")
    check_failed(done, file)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_space(models: Path, command: Command, small_disk: Path) -> None:
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "other").write_bytes(bytes(free - 8192))
    arguments = ("sample.py", f"ckpt_path={models / 'plain.ckpt'}", *QUICK, "num_samples=64", f"out={small_disk / 'a'}")
    for save, file in {"grid": "grid.png", "npz": "samples.npz", "mp4": "process.mp4"}.items():
        reason = "the video could not be written whole" if save == "mp4" else "No space left on device"
        check_failed(command(*arguments, f"save={save}"), f"a/{file}", reason)
    done = command("export.py", f"ckpt_path={models / 'plain.ckpt'}", f"out={small_disk / 'a'}")
    check_failed(done, "a/model.safetensors", "No space left on device")
    assert [path.name for path in small_disk.iterdir()] == ["other"]


def test_an_evaluation_keeps_its_lines_and_tables_whole(
    models: Path, command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = (
        *("eval.py", "dataset=digits", *QUICK, "num_samples=20", "metrics=[fid]", "cache_dir=cache"),
        "out=out",
    )
    model = f"ckpt_path={models / 'plain.ckpt'}"
    with files_of_at_most(1000):
        done = command(*arguments, model)
    # real images that cannot be kept are no failure, but a result that cannot be kept is one
    assert "cannot be kept (File too large)" in caplog.text and not list((tmp_path / "cache").iterdir())
    assert done.returncode == 1 and "error: out/results.jsonl: File too large; " in done.stderr
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == b""
    assert command(*arguments, model).returncode == 0
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    with files_of_at_most(len(before) + 100):
        check_failed(command(*arguments, model, "seed=1"), "out/results.jsonl")
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.jsonl", "table.md"}
    table = (tmp_path / "out" / "table.md").read_text()
    (tmp_path / "out" / "table.md").unlink()  # as if the disk had been full after the line
    assert "(measured before)" in command(*arguments, model).stdout
    assert (tmp_path / "out" / "table.md").read_text() == table


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append_line(file, "first")
    file.write_bytes(file.read_bytes() + b"half")
    append_line(file, "second")
    assert file.read_text() == "first\nhalf\nsecond\n"
    with files_of_at_most(30), pytest.raises(OSError, match="File too large.*lines"):
        append_line(file, "a line that is too long for the space that is left")
    assert file.read_text() == "first\nhalf\nsecond\n"


def test_a_report_and_a_classifier_are_whole_or_not_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples"), tmp_path / "logs" / "version_0")
    assert report_command([str(tmp_path / "logs")]) == 0
    page = tmp_path / "logs" / "report.html"
    before = page.read_bytes()
    capfd.readouterr()
    with files_of_at_most(1000):
        code = report_command([str(tmp_path / "logs")])
    check_failed(CompletedProcess([], code, "", capfd.readouterr().err), "report.html")
    assert page.read_bytes() == before and not list(page.parent.glob(".*.tmp.*"))

    arguments = ["digits", "--name", "own", "--folder", str(tmp_path / "kept"), "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["train_classifier", *arguments])
    train_classifier.main()
    former = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    assert len(former) == 2
    capfd.readouterr()
    with files_of_at_most(1000), pytest.raises(SystemExit) as ended:
        monkeypatch.setattr(sys, "argv", ["train_classifier", *arguments, "--seed", "1"])
        train_classifier.main()
    check_failed(CompletedProcess([], ended.value.code, "", capfd.readouterr().err), "kept/own.safetensors")
    assert {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == former


def test_a_training_leaves_whole_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, tiny("trainer.max_epochs=1", "logger=csv"))

    def full(self: SampleImages, *arguments: Any) -> None:
        with files_of_at_most(1000):
            publish(self, *arguments)

    publish = SampleImages._publish
    with (
        patch.object(SampleImages, "_publish", full),
        pytest.raises(RunFailed, match=r"step_\d+.png: File too large; .*free"),
    ):
        run_job(folder)
    assert [path.name for path in (folder / "samples").iterdir() if "step_" in path.name] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_on_a_full_disk_prints_no_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.log").symlink_to("/dev/full")
    handler = log_to(tmp_path / "train.log")
    try:
        logging.getLogger("lightdiff").info("a message that goes nowhere")
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert "Traceback" not in capfd.readouterr().err
