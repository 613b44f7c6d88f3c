"""Checkpoints that are missing, broken or hostile are refused; a failed write leaves the old file whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lightdiff import load_model
from lightdiff.model import AtomicCheckpointIO
from lightdiff.model.checkpoint import CheckpointError
from runs import tiny, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples"), folder)
    return folder


def test_run_folder_and_its_files_load(run: Path) -> None:
    for path in (run, run / "checkpoints" / "last.ckpt", str(run / "checkpoints" / "best.ckpt")):
        assert load_model(path).sample(1, num_steps=2, seed=0).shape == (1, 1, 16, 16)


@pytest.fixture
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_loading_leaves_the_randomness_of_the_process_alone(run: Path) -> None:
    before = torch.get_rng_state()
    load_model(run)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "heun", "dpmpp_2m", "dpmpp_2m_sde"])
def test_images_do_not_depend_on_the_default_type_of_the_process(
    sampler: str, run: Path, request: pytest.FixtureRequest
) -> None:
    expected = load_model(run).sample(2, sampler=sampler, num_steps=4, seed=0)
    request.getfixturevalue("double_precision")
    model = load_model(run)
    assert torch.get_default_dtype() == torch.float64
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert torch.equal(model.sample(2, sampler=sampler, num_steps=4, seed=0), expected)


def test_missing_ones_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such checkpoint or run folder"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"no checkpoints/last.ckpt; there: .*best.ckpt"):
        load_model(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_ones_are_named(run: Path, tmp_path: Path, share: float) -> None:
    content = (run / "checkpoints" / "last.ckpt").read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.ckpt") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"broken", b"not a checkpoint", os.urandom(1000), b"PK\x03\x04" + bytes(100)])
def test_garbage_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"garbage\.ckpt") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("where", ["state_dict", "lightdiff", "hyper_parameters", "callbacks"])
def test_pickled_code_does_not_run(run: Path, tmp_path: Path, where: str) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint.setdefault(where, {})
    checkpoint[where]["bomb"] = Bomb(tmp_path / "exploded")
    torch.save(checkpoint, tmp_path / "bomb.ckpt")
    with pytest.raises(CheckpointError, match=r"bomb\.ckpt"):
        load_model(tmp_path / "bomb.ckpt")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "builtins.open",
        "builtins.eval",
        "torch.utils.cpp_extension.load",
        "lightdiff.networks.unet.torch.load",
        "lightdiff.model.load_model",
        "lightdiff.data.Folder",
        "lightdiff.core.loss.torch",
        "lightdiff.networks.__builtins__",
    ],
)
def test_names_from_a_file_are_called_from_an_allow_list_only(run: Path, tmp_path: Path, target: str) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["lightdiff"]["model"]["schedule"] = {"_target_": target, "command": f"touch {tmp_path / 'exploded'}"}
    torch.save(checkpoint, tmp_path / "hostile.ckpt")
    with pytest.raises(CheckpointError, match=r"hostile\.ckpt") as caught:
        load_model(tmp_path / "hostile.ckpt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def half(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]
