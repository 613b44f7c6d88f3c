"""play.py: its keys, what it refuses in one line, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lightdiff.commands.play import PlaySettings
from lightdiff.config.extras import installed
from playables import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]
SHIPPED = ROOT / "models" / "mnist_fast"
HAVE_GRADIO = pytest.mark.skipif(not installed("play"), reason="the extra play is not installed: make setup-browser")


def test_every_key_of_the_file_has_its_check() -> None:
    content = yaml.safe_load((ROOT / "conf" / "play.yaml").read_text(encoding="utf-8"))
    assert {field.name for field in fields(PlaySettings)} == content.keys() - {"hydra", "defaults"}
    assert (content["host"], content["share"]) == ("127.0.0.1", False)


@HAVE_GRADIO
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("port=70000",), "port=70000: 0 to 65535 is expected"),
        (("port=much",), "port=much: int is expected"),
        (("share=maybe",), "share=maybe: bool is expected"),
        (("ckpt_path=[]",), "ckpt_path=[]: 1 to 8 of them are expected"),
        (("ckpt_path=nowhere",), "ckpt_path=nowhere: "),
        ((f"ckpt_path=[{SHIPPED},nowhere]",), "ckpt_path=nowhere: "),
        (("data_dir=nowhere",), "data_dir=nowhere: no such folder"),
        (("device=abacus",), "device=abacus: not there"),
        (("hosts=127.0.0.1",), "hosts: no such key"),
        (("host=192.0.2.1",), "host=192.0.2.1: no address of this machine"),
        (("host=nowhere.invalid",), "host=nowhere.invalid: no address of this machine"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    command: Run, tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    done = command("play.py", f"ckpt_path={SHIPPED}", *settings)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {message}"), done.stderr
    assert len(done.stderr.splitlines()) == 1 and [*tmp_path.iterdir()] == []


class Served:
    """What `served` was called with, in place of Gradio's server."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.names: list[str] = []
        self.temporary: Path | None = None

    @contextmanager
    def __call__(self, playables: list[Any], **settings: Any) -> Iterator[str]:
        self.settings, self.names = settings, [playable.name for playable in playables]
        self.temporary = Path(tempfile.gettempdir())
        (self.temporary / "file").touch()
        raise KeyboardInterrupt
        yield ""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    made = Served()
    monkeypatch.setitem(sys.modules, "lightdiff.play.page.serve", SimpleNamespace(served=made))
    monkeypatch.setattr("lightdiff.commands.needed.require", lambda *_: None)
    return made


def test_the_page_gets_the_models_and_ctrl_c_leaves_nothing(
    command: Run, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    both = f"ckpt_path=[{SHIPPED},{ROOT / 'models' / 'mnist_one_step'}]"
    done = command("play.py", both, "port=0", "device=cpu")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert served.names == ["models/mnist_fast", "models/mnist_one_step"]
    assert served.settings.pop("port") > 0
    assert served.settings == {"host": "127.0.0.1", "share": False, "open_browser": False}
    assert served.temporary is not None and served.temporary.parent == place
    assert [*place.iterdir()] == [] and tempfile.tempdir == str(place)


@HAVE_GRADIO
def test_a_port_that_is_taken_is_one_line(command: Run) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = command("play.py", f"ckpt_path={SHIPPED}", f"port={port}", "device=cpu")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"error: port={port}: nothing can be served there")
