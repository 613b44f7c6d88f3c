"""Checkpoints that are other archives than they seem to be are refused in one line."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
import torch

from hostile import Command, refused, refused_everywhere, tampered
from lightdiff import load_model
from lightdiff.model import CheckpointError


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(
    run: Path, tmp_path: Path, marker: Path, command: Command
) -> None:
    path = tampered(run, lambda content: content.update(large=torch.zeros(2**24)))
    compressed(path)
    assert path.stat().st_size < 2**22
    assert torch.load(path, weights_only=True)["large"].nbytes == 2**26  # torch itself would unpack it
    refused_everywhere(run, command, marker)
    refused(command("train.py", f"resume={run}"), "last.ckpt: not loaded, it unpacks to ")


def compressed(path: Path, comment: bytes = b"") -> None:
    """Pack the entries of a checkpoint again, smaller."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, content in entries.items():
            archive.writestr(name, content)


def test_an_archive_that_only_torch_can_read_is_refused(run: Path, marker: Path, command: Command) -> None:
    """Python's reader takes the comment for the end of the archive, torch's does not."""
    path = tampered(run, lambda content: content.update(large=torch.zeros(2**24)))
    compressed(path, comment=b"PK\x05\x06")
    assert not zipfile.is_zipfile(path)
    assert torch.load(path, weights_only=True)["large"].nbytes == 2**26
    refused_everywhere(run, command, marker)
    refused(command("train.py", f"resume={run}"), "last.ckpt: not loaded, it is truncated or no archive of torch.save")


def test_an_archive_with_two_lists_of_entries_is_refused(run: Path) -> None:
    """Python's reader would take the list in front of the end, torch's the one whose place the end names."""
    path = run / "checkpoints" / "last.ckpt"
    compressed(path)
    data, end = path.read_bytes()[:-22], path.read_bytes()[-22:]
    size, offset = struct.unpack("<LL", end[12:20])
    path.write_bytes(data + data[offset : offset + size] + end)
    assert zipfile.is_zipfile(path)
    assert torch.load(path, weights_only=True)["epoch"] is not None
    with pytest.raises(CheckpointError, match="not loaded, it is no archive of torch.save"):
        load_model(run)


def test_other_formats_than_an_archive_are_not_even_tried(run: Path) -> None:
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="not loaded, it is no archive of torch.save"):
        load_model(run)
