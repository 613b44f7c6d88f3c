"""A broken last.ckpt: one line that names the newest good checkpoint, and the command that goes on from it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lightdiff.model import CheckpointError, read_checkpoint
from runs import composed, differences, last, train

Command = Callable[..., subprocess.CompletedProcess[str]]
SAME = (
    *("dataset=digits", "model=unet_small", "model.widths=[8,8]", "model.attention_levels=[]", "trainer=debug"),
    *("dataset.batch_size=16", "callbacks=no_samples", "trainer.enable_progress_bar=false", "auto_resume=true"),
    *("trainer.enable_model_summary=false", "trainer.max_epochs=3", "callbacks.checkpoints.keep_every_n_epochs=1"),
)
RUN = Path("lightning_logs") / "digits" / "version_0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs of four steps, with a checkpoint of each."""
    folder = tmp_path_factory.mktemp("finished") / "version_0"
    train(composed(*SAME), folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The finished run cut back: the checkpoints of epochs 1 and 2 can be read, and that of epoch 1 was touched last."""
    folder = Path(shutil.copytree(finished, tmp_path / RUN))
    for name in ("best.ckpt", "epoch_0003.ckpt"):
        (folder / "checkpoints" / name).unlink()
    (folder / "result.json").unlink()
    os.utime(folder / "checkpoints" / "epoch_0001.ckpt")
    return folder


def spoil(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "garbled":  # some weights: the archive and its table of contents are as they were
        content[len(content) // 2] ^= 0xFF
    file.write_bytes({"truncated": content[: len(content) // 2], "garbled": content, "empty": b""}[how])


@pytest.mark.parametrize("how", ["truncated", "garbled", "empty"])
@pytest.mark.parametrize("way", ["resume", "--job", "auto_resume"])
def test_the_newest_good_one_is_offered(how: str, way: str, run: Path, command: Command) -> None:
    spoil(run / "checkpoints" / "last.ckpt", how)
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    arguments = {"resume": [f"resume={RUN}"], "--job": ["--job", str(RUN)], "auto_resume": [*SAME]}[way]
    done = command("train.py", *arguments)
    assert done.returncode == 2
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: "]
    assert "last.ckpt: " in done.stderr
    offer = f"go on from the newest good one, of step 8: python train.py resume={RUN}/checkpoints/epoch_0002.ckpt\n"
    assert done.stderr.endswith(offer)
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]


def test_the_offered_command_goes_on(finished: Path, run: Path, command: Command) -> None:
    spoil(run / "checkpoints" / "last.ckpt", "garbled")
    offered = command("train.py", f"resume={RUN}").stderr.rpartition("python ")[2]
    done = command(*shlex.split(offered))
    assert done.returncode == 0, done.stderr
    assert differences(last(finished)["state_dict"], last(run)["state_dict"]) == []
    assert (run / "checkpoints" / "replaced_last_1.ckpt").is_file()


def test_a_missing_one_is_like_a_broken_one(run: Path, command: Command) -> None:
    (run / "checkpoints" / "last.ckpt").unlink()
    done = command("train.py", f"resume={RUN}")
    assert done.returncode == 2 and f"resume={RUN}/checkpoints/epoch_0002.ckpt" in done.stderr


def test_a_broken_one_is_not_offered(run: Path, command: Command) -> None:
    for name in ("last.ckpt", "epoch_0002.ckpt"):
        spoil(run / "checkpoints" / name, "garbled")
    assert f"of step 4: python train.py resume={RUN}/checkpoints/epoch_0001.ckpt" in (
        command("train.py", f"resume={RUN}").stderr
    )
    spoil(run / "checkpoints" / "epoch_0001.ckpt", "truncated")
    assert f"there is no good checkpoint in {RUN}/checkpoints" in command("train.py", f"resume={RUN}").stderr


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_one_changed_byte_is_noticed(share: float, run: Path) -> None:
    file = run / "checkpoints" / "last.ckpt"
    content = bytearray(file.read_bytes())
    content[int(share * len(content))] ^= 0x01
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        read_checkpoint(file)
