"""MNIST's and Fashion-MNIST's files: read, missing, downloaded, broken."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from lightdiff.data import DataError, DiffSet, download
from waiting import PATIENCE


def images_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion", "FashionMNIST")])
def test_files_are_read_and_padded(mnist_dir: Path, random_pixels, name: str, folder: str) -> None:
    data = DiffSet(name, data_dir=str(mnist_dir), batch_size=4)
    data.setup()
    assert (data.num_train, data.num_val, data.channels, data.image_size) == (20, 10, 1, (32, 32))
    assert len(data.class_names) == 10
    batch = data.train_set[range(20)]
    assert batch["image"].shape == (20, 1, 32, 32) and batch["image"].dtype == torch.uint8
    assert torch.equal(batch["image"][:, 0, 2:30, 2:30], random_pixels(20, 28, 28))
    assert batch["label"].tolist() == [n % 10 for n in range(20)] and batch["label"].dtype == torch.int64
    assert torch.equal(data.val_set[range(10)]["image"][:, 0, 2:30, 2:30], random_pixels(10, 28, 28, seed=1))


def test_reading_needs_no_right_to_write(mnist_dir: Path) -> None:
    before = images_below(mnist_dir)
    DiffSet("mnist", data_dir=str(mnist_dir), batch_size=4).setup()
    assert images_below(mnist_dir) == before
    assert not list(mnist_dir.rglob(".*"))


def test_colour_is_refused(mnist_dir: Path) -> None:
    with pytest.raises(ValueError, match="channels=3: the images of MNIST have 1"):
        DiffSet("mnist", data_dir=str(mnist_dir), channels=3).setup()


def refuse(*args, **kwargs):
    raise urllib.error.URLError("no network")


ANSWER_IS_HERE = threading.Event()


def hang(*args, **kwargs):
    """A connection that says nothing for as long as the one who asks waits."""
    assert ANSWER_IS_HERE.wait(PATIENCE), "the answer waits for the network"


@pytest.mark.parametrize("network", [refuse, hang])
@pytest.mark.parametrize("name", ["mnist", "fashion", "cifar"])
def test_without_network_one_message_says_what_to_do_and_waits_for_no_answer(
    tmp_path, monkeypatch, network, name
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", network)
    if network is hang:
        monkeypatch.setattr(download, "PROBE_SECONDS", 0.5)  # 4 seconds otherwise
    ANSWER_IS_HERE.clear()
    with pytest.raises(DataError) as error:
        DiffSet(name, data_dir=str(tmp_path / "data")).setup()
    ANSWER_IS_HERE.set()
    message = str(error.value)
    expected = {
        "mnist": ("MNIST/raw", "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        "fashion": ("FashionMNIST/raw", "train-images-idx3-ubyte"),
        "cifar": ("cifar-10-batches-py", "data_batch_1", "test_batch"),
    }
    assert "\n" not in message
    assert all(word in message for word in (*expected[name], str(tmp_path), "dataset=digits"))
    assert not (tmp_path / "data").exists()


def test_the_time_limits_leave_room_within_ten_seconds() -> None:
    assert download.PROBE_SECONDS < 6
    assert download.STALL_SECONDS < 10


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, idx_files, monkeypatch) -> Iterator[Path]:
    """A server on this machine in the place of MNIST's; the folder it serves."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for name, content in idx_files.items():
        packed = gzip.compress(content)
        (served / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    yield served
    server.shutdown()
    server.server_close()


def test_missing_files_are_downloaded(mirror: Path, tmp_path: Path, idx_files) -> None:
    data = DiffSet("mnist", data_dir=str(tmp_path / "data"), batch_size=4)
    data.prepare_data()
    assert images_below(tmp_path / "data") == sorted(idx_files)  # no archives, nothing half-written
    data.setup()
    assert data.num_train == 20


@pytest.mark.parametrize("damage", ["cut off", "altered"])
def test_an_interrupted_download_leaves_nothing_and_the_next_one_succeeds(mirror: Path, tmp_path, damage: str) -> None:
    archive = mirror / "t10k-images-idx3-ubyte.gz"
    content = archive.read_bytes()
    archive.write_bytes(content[:100] if damage == "cut off" else content[:100] + b"?" + content[101:])
    data = DiffSet("mnist", data_dir=str(tmp_path / "data"))
    with pytest.raises(DataError, match=r"MNIST: no data in .* put train-images"):
        data.prepare_data()
    assert images_below(tmp_path / "data") == []
    archive.write_bytes(content)
    data.prepare_data()
    assert len(images_below(tmp_path / "data")) == 4


def test_ctrl_c_in_a_download_leaves_nothing(mirror: Path, tmp_path: Path, monkeypatch) -> None:
    def interrupted(self) -> None:
        Path(self.raw_folder).mkdir(parents=True)
        (Path(self.raw_folder) / "train-images-idx3-ubyte").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.MNIST, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        DiffSet("mnist", data_dir=str(tmp_path / "data")).prepare_data()
    assert images_below(tmp_path / "data") == []


def test_what_a_killed_process_left_is_cleared_away(mirror: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "data/MNIST/raw/.MNIST.download/MNIST/raw"
    scratch.mkdir(parents=True)
    (scratch / "train-images-idx3-ubyte").write_bytes(b"half a file of a killed process")
    data = DiffSet("mnist", data_dir=str(tmp_path / "data"), batch_size=4)
    data.setup()
    assert data.num_train == 20
    assert not scratch.exists()


def test_two_that_download_at_once_download_once(mirror: Path, tmp_path: Path, monkeypatch) -> None:
    downloads = []
    original = datasets.MNIST.download

    def counted(self) -> None:
        downloads.append(os.fspath(self.root))
        time.sleep(0.3)
        original(self)

    monkeypatch.setattr(datasets.MNIST, "download", counted)
    sets = [DiffSet("mnist", data_dir=str(tmp_path / "data"), batch_size=4) for _ in range(3)]
    threads = [threading.Thread(target=data.prepare_data) for data in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == 1
    assert len(images_below(tmp_path / "data")) == 4
