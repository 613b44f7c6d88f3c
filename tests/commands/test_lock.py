"""One process at a time trains in a run folder: a second one is refused in one line and touches nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Callback

from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.run_folder import LOCK, alone_in, in_training
from runs import composed, last, train

Command = Callable[..., subprocess.CompletedProcess[str]]
SAME = (
    *("dataset=digits", "model=unet_small", "model.widths=[8,8]", "model.attention_levels=[]", "trainer=debug"),
    *("dataset.batch_size=16", "callbacks=no_samples", "trainer.enable_progress_bar=false", "auto_resume=true"),
    "trainer.enable_model_summary=false",
)
TAKE = """
import sys, time
from filelock import FileLock, Timeout
lock = FileLock(sys.argv[1])
try:
    lock.acquire(timeout=0)
except Timeout:
    raise SystemExit(3)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder in which nothing has been trained yet."""
    folder = tmp_path / "lightning_logs" / "digits" / "version_0"
    folder.mkdir(parents=True)
    write_config(folder, composed(*SAME))
    return folder


@pytest.fixture
def other(run: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", TAKE, str(run / LOCK), "1000"], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("way", ["--job", "resume", "resume of two", "auto_resume"])
def test_the_second_is_refused(
    way: str, trained: bool, run: Path, other: subprocess.Popen[bytes], command: Command, tmp_path: Path
) -> None:
    if trained:
        (run / "checkpoints").mkdir()
        reference = tmp_path / "reference"
        train(composed(*SAME), reference)
        (reference / "checkpoints" / "last.ckpt").rename(run / "checkpoints" / "last.ckpt")
    elif way.startswith("resume"):
        pytest.skip("there is nothing to resume")
    arguments = {
        "--job": ["--job", str(run)],
        "resume": [f"resume={run}", "trainer.max_epochs=2"],
        "resume of two": [f"resume={run}", "trainer.max_epochs=2", "trainer.devices=2"],
        "auto_resume": [*SAME],
    }[way]
    before = contents(tmp_path)
    done = command("train.py", *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "digits/version_0: another process is training in this folder" in done.stderr
    assert contents(tmp_path) == before and [path.name for path in run.parent.iterdir()] == ["version_0"]


def test_a_killed_process_leaves_the_folder_free(run: Path, other: subprocess.Popen[bytes]) -> None:
    assert in_training(run)
    os.kill(other.pid, signal.SIGKILL)
    with alone_in(run):
        assert not in_training(run.parent)
    assert not in_training(run)


class Rival(Callback):
    """Another process that tries to train in the folder in the middle of the training."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        code = subprocess.run([sys.executable, "-c", TAKE, f"{self.folder}/{LOCK}", "0"]).returncode
        (Path(self.folder) / "rival").write_text(str(code))


def test_a_run_holds_its_folder(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.Rival", Rival, raising=False)
    config = composed(*SAME, "trainer.limit_train_batches=1")
    config["callbacks"] = {"rival": {"_target_": "runs.Rival", "folder": str(run)}, **config["callbacks"]}
    write_config(run, config)
    train(config, run)
    assert (run / "rival").read_text() == "3"
    assert not in_training(run)


def test_a_process_may_take_it_again(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        with alone_in(tmp_path):
            pass
        code = subprocess.run([sys.executable, "-c", TAKE, str(tmp_path / LOCK), "0"]).returncode
        assert code == 3
    assert not in_training(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_obstacle(number: int, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with alone_in(run):  # and nothing that a kill would leave behind
        assert not (run / LOCK).exists() or (run / LOCK).read_bytes() == b""
    assert not in_training(run)
    if number == errno.ENOLCK:
        assert train(composed(*SAME), run)["global_step"] == last(run)["global_step"] == 4


def test_other_errors_come_through(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="impossible"), alone_in(tmp_path):
        raise ConfigError("impossible")
    assert not in_training(tmp_path)
