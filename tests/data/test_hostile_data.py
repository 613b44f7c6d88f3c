"""Hostile data is refused: images that are programs or bombs, pickles, archives that lead out of their folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import resource
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import pytest
import torch
import torchvision
from PIL import EpsImagePlugin, Image
from torchvision.datasets import MNIST

from hostile import payloads
from lightdiff.data import DataError, DiffSet, HuggingFace

datasets.disable_progress_bars()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that hostile code makes when it runs."""
    return tmp_path / "marker"


def refused(data: DiffSet, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        data.prepare_data()
        data.setup()
    assert "\n" not in str(caught.value)


def folder_of(tmp_path: Path) -> DiffSet:
    return DiffSet("folder", data_dir=str(tmp_path / "images"), batch_size=2)


def large_png(side: int) -> bytes:
    """A black image of side x side bits, in a file of about a thousandth of that."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    rows = [packer.compress(bytes(1 + side // 8)) for _ in range(side)]
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    content = b"".join([*rows, packer.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


# -- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [9_000, 12_000, 40_000])  # below Pillow's warning, at it, above its refusal
def test_an_image_that_unpacks_to_gigabytes_is_refused(side: int, tmp_path: Path, write_image, random_pixels) -> None:
    write_image(tmp_path / "images" / "a.png", random_pixels(8, 8, 3))
    bomb = tmp_path / "images" / "bomb.png"
    bomb.write_bytes(large_png(side))
    assert bomb.stat().st_size < side**2 / 8 / 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder_of(tmp_path), r"bomb\.png: .*pixels .*max_pixels=50000000 allows")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 50_000_000  # decoded it has `side` squared bytes, and three times that in colour


@pytest.fixture
def programs_name(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `gs` on the path, which Pillow would call for PostScript, and which leaves the marker."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(any program) run\nshowpage\n%%EOF\n"


@pytest.mark.usefixtures("programs_name")
@pytest.mark.parametrize("name", ["b.png", "b.jpg", "b.tif"])
def test_a_program_with_the_name_of_an_image_is_not_run(
    name: str, tmp_path: Path, marker: Path, write_image, random_pixels
) -> None:
    write_image(tmp_path / "images" / "a.png", random_pixels(8, 8, 3))
    (tmp_path / "images" / name).write_bytes(POSTSCRIPT)
    refused(folder_of(tmp_path), rf"images/{name}: not a readable image")
    assert not marker.exists()
    with Image.open(tmp_path / "images" / name) as image, pytest.raises(OSError):  # as Pillow does by itself
        image.load()
    assert marker.exists()


def test_links_out_of_a_folder_are_left_out(tmp_path: Path, write_image, random_pixels) -> None:
    for name in ("private/p.png", "images/a/1.png", "images/a/2.png"):
        write_image(tmp_path / name, random_pixels(8, 8, 3))
    (tmp_path / "images" / "a" / "3.png").symlink_to(tmp_path / "private" / "p.png")
    (tmp_path / "images" / "b").symlink_to(tmp_path / "private")
    data = DiffSet("folder", data_dir=str(tmp_path / "images"), batch_size=1, max_memory_gb=0)
    data.setup()
    assert sorted(data.train_set.files + data.val_set.files) == ["a/1.png", "a/2.png"]


# -- pickles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["os.system", "builtins.eval"])
def test_the_former_mnist_files_are_not_even_opened(payload: str, mnist_dir: Path, marker: Path) -> None:
    processed = mnist_dir / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save(payloads(marker)[payload], processed / name)
    with pytest.raises(pickle.UnpicklingError):
        MNIST(mnist_dir)
    data = DiffSet("mnist", data_dir=str(mnist_dir))
    data.setup()
    assert data.num_train == 20
    assert not marker.exists()


def test_a_data_sets_script_is_not_run(tmp_path: Path, marker: Path) -> None:
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "pets.py").write_text(f"open({str(marker)!r}, 'w')\n")
    refused(DiffSet("huggingface", source=HuggingFace(str(folder)), data_dir=str(tmp_path)), "source.path=.*pets")
    assert not marker.exists()


# -- archives ---------------------------------------------------------------------------------------------------------


def with_links(path: Path, inside: str, outside: Path) -> None:
    """A tar archive with a link `inside` that leads to `outside`, then a file behind this link, and one beside the folder."""
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo(inside)
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
        for name in (f"{inside}/marker", "../marker"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))


def tar_file(folder: Path, outside: Path) -> None:
    with_links(folder / "train.tar.gz", "images", outside)


def zip_bomb(folder: Path, outside: Path) -> None:
    with zipfile.ZipFile(folder / "train.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../marker", b"abc")
        archive.writestr("a.png", bytes(10**7))


def zip_as_parquet(folder: Path, outside: Path) -> None:
    zip_bomb(folder, outside)
    (folder / "train.zip").rename(folder / "train.parquet")


def gzip_bomb(folder: Path, outside: Path) -> None:
    (folder / "train.csv.gz").write_bytes(gzip.compress(bytes(10**7)))


@pytest.mark.parametrize("write", [tar_file, zip_bomb, zip_as_parquet, gzip_bomb])
def test_archives_in_a_local_folder_are_not_unpacked(write: Callable[[Path, Path], None], tmp_path: Path) -> None:
    folder, outside = tmp_path / "pets", tmp_path / "outside"
    folder.mkdir(), outside.mkdir()
    write(folder, outside)
    before = sorted(tmp_path.rglob("*"))
    data = DiffSet("huggingface", source=HuggingFace(str(folder)), data_dir=str(tmp_path / "data"))
    refused(data, r"pets/train\.[a-z.]+: archives are not unpacked here")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which its files can be downloaded."""
    folder = tmp_path / "server"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    thread.join()
    http.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("known", [False, True])
def test_a_downloaded_archive_with_links_leaves_nothing_behind(
    known: bool, tmp_path: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, served = tmp_path / "outside", server[0] / "cifar-10-python.tar.gz"
    outside.mkdir()
    with_links(served, "cifar-10-batches-py", outside)
    reader = torchvision.datasets.CIFAR10
    monkeypatch.setattr(reader, "url", f"{server[1]}/{served.name}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # even an archive with the expected checksum is refused
    if known:
        monkeypatch.setattr(reader, "tgz_md5", hashlib.md5(served.read_bytes()).hexdigest())
    reason = "cifar-10-batches-py.*link" if known else "File not found or corrupted"
    refused(DiffSet("cifar", data_dir=str(tmp_path / "data")), f"CIFAR: no data in .* and no download .*{reason}")
    assert list(tmp_path.rglob("marker")) == []


def test_it_would_leave_something_behind(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir(), (tmp_path / "inside").mkdir()
    with_links(tmp_path / "a.tar.gz", "images", tmp_path / "outside")
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        archive.extractall(
            tmp_path / "inside", **({"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {})
        )
    assert sorted(tmp_path.rglob("marker")) == [tmp_path / "marker", tmp_path / "outside" / "marker"]
