"""Descriptions of models that are garbled, or of another kind, are refused in one line that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hostile import Command, payloads, refused, refused_everywhere, tampered
from lightdiff import load_model
from lightdiff.model import save_export

BROKEN_CONFIGS = {
    "a list": "[]",
    "a number": '{"lightdiff": 3}',
    "no model": '{"lightdiff": {"format": 1, "weights": "ema"}}',
    "another format": '{"lightdiff": {"format": 2, "weights": "ema", "model": {}}}',
    "an empty model": '{"lightdiff": {"format": 1, "weights": "ema", "model": {}}}',
    "half": '{"lightdiff": {',
    "deep": "[" * 100_000,
    "bytes": "\udcff",
}


@pytest.mark.parametrize("content", list(BROKEN_CONFIGS.values()), ids=list(BROKEN_CONFIGS))
def test_a_broken_export_is_named(content: str, trained: Path, tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    save_export(load_model(trained), folder, weights="ema")
    (folder / "config.json").write_bytes(content.encode(errors="surrogateescape"))
    refused(command("sample.py", f"ckpt_path={folder}", "num_samples=1"), str(folder))


@pytest.mark.parametrize("content", [b"", b"\xff" * 8 + b"{}", b"\x10" + bytes(7) + b"[" * 16, "pickle"])
def test_a_pickle_is_no_safetensors(
    content: bytes | str, trained: Path, tmp_path: Path, marker: Path, command: Command
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    save_export(load_model(trained), folder, weights="ema")
    if content == "pickle":
        torch.save(payloads(marker)["os.system"], folder / "model.safetensors")
    else:
        (folder / "model.safetensors").write_bytes(content)  # type: ignore[arg-type]
    refused(command("sample.py", f"ckpt_path={folder}", "num_samples=1"), "model.safetensors: not readable")
    assert not marker.exists()


DESCRIPTIONS: dict[str, Any] = {
    "a tensor": torch.zeros(3),
    "nothing": None,
    "a list": [1, 2],
    "a number in place of a part": {"schedule": 3},
    "an impossible value": {"codec": {"_target_": "lightdiff.core.PixelCodec", "value_range": [1, -1]}},
    "a value of another type": {"image_shape": "abc"},
}


@pytest.mark.parametrize("name", list(DESCRIPTIONS))
def test_a_description_of_another_kind_is_refused(name: str, run: Path, command: Command, marker: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        wrong = DESCRIPTIONS[name]
        model = content["lightdiff"]["model"]
        content["lightdiff"]["model"] = {**model, **wrong} if isinstance(wrong, dict) else wrong

    tampered(run, change)
    refused_everywhere(run, command, marker)
