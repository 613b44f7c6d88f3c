"""Names of files that are no UTF-8, or that would move a terminal's cursor: the images are read, the names are shown escaped."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from PIL import Image

from hostile import refused
from lightdiff.data import DataError, DiffSet
from lightdiff.utils.text import escaped
from runs import TINY, last, scalars

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def odd_folder(tmp_path: Path, random_pixels) -> Path:
    """24 images in two classes, whose names and the name of one class are no UTF-8."""
    for number in range(24):
        folder = tmp_path / "photos" / os.fsdecode((b"k\xfctze", b"dog")[number % 2])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            pytest.skip("this file system has no such names")
        content = io.BytesIO()
        Image.fromarray(random_pixels(8, 8, 3, seed=number).numpy()).save(content, "PNG")
        (folder / os.fsdecode(b"\xff%d.png" % number)).write_bytes(content.getvalue())
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("kätzchen größe 名前 👩‍👩‍👧", "kätzchen größe 名前 👩‍👩‍👧"),
        (os.fsdecode(b"a\xff"), "a\\udcff"),
        ("a\nb\x1b[2Jc\u2028d\r", "a\\nb\\x1b[2Jc\\u2028d\\r"),
    ],
)
def test_only_what_cannot_be_shown_is_escaped(name: str, shown: str) -> None:
    assert escaped(name) == shown == escaped(shown)
    shown.encode()
    assert str(DataError(f"{name}: no")) == f"{shown}: no"


@pytest.mark.parametrize("max_memory_gb", [4, 0])
def test_images_of_such_names_are_read(max_memory_gb: float, odd_folder: Path) -> None:
    data = DiffSet("folder", data_dir=str(odd_folder), image_size=8, batch_size=4, max_memory_gb=max_memory_gb)
    data.setup()
    assert sorted(data.class_names) == ["dog", "k\\udcfctze"]
    assert sum(len(batch["image"]) for batch in data.train_dataloader()) == 20
    assert len(data.train_set.fingerprint) == 64


def test_a_run_on_such_names(odd_folder: Path, command: Command, tmp_path: Path) -> None:
    (odd_folder / "dog" / os.fsdecode(b"broken\xfe\n.png")).write_bytes(b"no image")
    tiny = [argument for argument in TINY if not argument.startswith(("dataset=", "dataset.batch"))]
    of_folder = ("dataset=folder", f"dataset.data_dir={odd_folder}", "dataset.image_size=8", "dataset.batch_size=4")
    settings = [*tiny, *of_folder, "dataset.num_workers=0", "conditioning=label", "trainer.max_epochs=1"]
    refused(command("train.py", *settings), "dog/broken\\udcfe\\n.png: not a readable image")
    done = command("train.py", *settings, "dataset.on_corrupted=skip")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "folder" / "version_0"
    for file in ("train.log", "config.yaml"):
        assert "udcf" in (run / file).read_text(encoding="utf-8")
    log = (run / "train.log").read_text(encoding="utf-8")
    assert log.count("image_store: left out: ") == 1 and "dog/broken\\udcfe\\n.png: not a readable image" in log
    assert scalars(run)["val/loss"]
    json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert "k\\udcfctze" in last(run)["lightdiff"]["model"]["conditioning"]["class_names"]
    for script, arguments in (("sample.py", ["num_samples=2"]), ("export.py", ["out=shared"])):
        done = command(script, f"ckpt_path={run}", *arguments)
        assert done.returncode == 0, done.stderr
    json.loads((tmp_path / "shared" / "config.json").read_text(encoding="utf-8"))
    torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
