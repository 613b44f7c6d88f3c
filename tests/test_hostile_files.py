"""Files of a stranger who wants his code to run: none runs, and each is refused in one line (SECURITY.md).

What would run leaves a marker behind. The tests called test_it_would_... show that it does so where nobody guards.
"""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from torch.utils import cpp_extension

from hostile import NAMES, asking, closed, payloads, planted, refused
from lightdiff import load_model
from lightdiff.conditioning import clip_encoder
from lightdiff.lightning import CheckpointError, read_checkpoint, save_export
from lightdiff.utils.config import instantiate
from runs import TINY, tiny, train
from tiny_clip import WIDTH

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "digits" / "version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples", "conditioning=label"), folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(trained, tmp_path / "run" / "version_0"))


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What hostile code makes when it runs."""
    monkeypatch.setattr(cpp_extension, "load", lambda name, sources: Path(name).touch())  # instead of compiling
    return tmp_path / "marker"


def write(run: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the content of the run's last.ckpt."""
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def refused_everywhere(run: Path, command: Command, marker: Path) -> None:
    """By load_model, sample.py, export.py and init_from=."""
    for path in (run, run / "checkpoints" / "last.ckpt"):
        with pytest.raises(CheckpointError) as caught:
            load_model(path)
        assert str(run) in str(caught.value) and "\n" not in str(caught.value)
    refused(command("sample.py", f"ckpt_path={run}", "num_samples=1"), str(run))
    refused(command("export.py", f"ckpt_path={run}", "out=shared"), str(run))
    refused(command("train.py", *TINY, f"init_from={run}", "callbacks=no_samples"), f"init_from={run}")
    assert not marker.exists()


# -- pickled code -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["os.system", "builtins.open", "builtins.eval", "pickle.loads"])
def test_it_would_run_when_unpickled(payload: str, marker: Path, tmp_path: Path) -> None:
    torch.save(payloads(marker)[payload], tmp_path / "bomb.ckpt")
    closed(torch.load(tmp_path / "bomb.ckpt", weights_only=False))
    assert marker.exists()


@pytest.mark.parametrize("payload", ["os.system", "builtins.open", "builtins.eval", "pickle.loads", "getattr"])
@pytest.mark.parametrize(
    "where", ["state_dict", "hyper_parameters", "callbacks", "lightdiff", "optimizer_states", "loops", "epoch"]
)
def test_pickled_code_does_not_run(where: str, payload: str, run: Path, marker: Path, command: Command) -> None:
    def plant(content: dict[str, Any]) -> None:
        bomb = payloads(marker)[payload]
        if isinstance(content.get(where), dict):
            content[where]["bomb"] = bomb
        else:
            content[where] = {"bomb": bomb}

    path = write(run, plant)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: not loaded, it is garbled or holds more than weights"):
        read_checkpoint(path)
    assert not marker.exists()
    if payload == "os.system":
        refused_everywhere(run, command, marker)
        for beside in ((), ("trainer.max_epochs=3",)):
            refused(command("train.py", f"resume={run}", *beside), "last.ckpt: not loaded")
    assert not marker.exists()


def test_a_bare_pickle_does_not_run(run: Path, marker: Path, command: Command) -> None:
    path = run / "checkpoints" / "last.ckpt"
    for protocol in (0, 2, 5):
        path.write_bytes(pickle.dumps(payloads(marker)["os.system"], protocol))
        refused_everywhere(run, command, marker)
        refused(command("train.py", f"resume={run}"), "last.ckpt: ")
    assert not marker.exists()


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(NAMES))
def test_it_would_run_when_called_by_name(name: str, marker: Path) -> None:
    closed(instantiate(asking(name, marker)))
    assert marker.exists()


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize(
    "where", ["network", "schedule", "schedule.betas", "objective.prediction", "conditioning", "conditioning.extra"]
)
def test_names_in_a_checkpoint_are_not_called(where: str, name: str, run: Path, marker: Path, command: Command) -> None:
    asked = asking(name, marker)
    for thing in (asked, [asked], {"inner": asked}, {**asked, "_partial_": True}):
        write(run, lambda content, thing=thing: planted(content["lightdiff"]["model"], where, thing))
        with pytest.raises(CheckpointError, match=rf"_target_={name}: a file may only name") as caught:
            load_model(run)
        assert "\n" not in str(caught.value)
    if where == "schedule":
        refused_everywhere(run, command, marker)
    assert not marker.exists()


@pytest.mark.parametrize("name", list(NAMES))
def test_names_in_an_exported_model_are_not_called(name: str, trained: Path, tmp_path: Path, marker: Path) -> None:
    save_export(load_model(trained), tmp_path, weights="ema")
    content = json.loads((tmp_path / "config.json").read_text())
    content["lightdiff"]["model"]["schedule"]["betas"] = asking(name, marker)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=rf"_target_={name}: a file may only name"):
        load_model(tmp_path)
    assert not marker.exists()


# -- everything else in a model's files -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["FrozenClipConditioner", "ClipConditioner"])
@pytest.mark.parametrize("where", ["conditioning", "objective.prediction"])
def test_nothing_is_fetched_for_a_checkpoint(
    where: str, kind: str, run: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(pretrained: str) -> Path:
        marker.touch()
        raise ValueError(f"pretrained={pretrained}: asked for")

    monkeypatch.setattr(clip_encoder, "_folder_of", fetch)
    words = {"class_names": ["a"], "templates": ["{}"], "token_dim": WIDTH, "pretrained": "someone/elses"}
    thing = {"_target_": f"lightdiff.conditioning.{kind}", **words}
    with pytest.raises(ValueError, match="asked for"):  # by a user who wants it
        instantiate(thing)
    assert marker.exists()
    marker.unlink()
    write(run, lambda content: planted(content["lightdiff"]["model"], where, thing))
    with pytest.raises(CheckpointError, match="pretrained=someone/elses: not fetched for a checkpoint"):
        load_model(run)
    assert not marker.exists()


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(
    run: Path, tmp_path: Path, marker: Path, command: Command
) -> None:
    path = write(run, lambda content: content.update(large=torch.zeros(2**24)))
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
    path = write(run, lambda content: content.update(large=torch.zeros(2**24)))
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


def laughs(depth: int = 40) -> list[Any]:
    """A list that takes a few kilobytes, and 2 ** depth values where somebody prints or copies it."""
    data: list[Any] = ["ha"]
    for _ in range(depth):
        data = [data, data]
    return data


@pytest.mark.parametrize("where", ["epoch", "lightdiff", "model._target_", "network.widths", "schedule", "state_dict"])
def test_lists_that_grow_without_bound_are_refused_at_once(
    where: str, run: Path, marker: Path, command: Command
) -> None:
    def plant(content: dict[str, Any]) -> None:
        model = content["lightdiff"]["model"]
        places = {
            **{"model._target_": (model["network"], "_target_"), "network.widths": (model["network"], "widths")},
            **{"schedule": (model, "schedule"), "state_dict": (content["state_dict"], "network.inc.weight")},
        }
        node, name = places.get(where, (content, where))
        node[name] = laughs()

    write(run, plant)
    refused_everywhere(run, command, marker)
    refused(command("train.py", f"resume={run}"), "last.ckpt: not loaded, it holds more than 1000000 values")


def test_a_list_within_itself_is_refused(run: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    write(run, lambda content: content.update(epoch=endless))
    with pytest.raises(CheckpointError, match="not loaded, it holds more than 1000000 values"):
        load_model(run)


def test_a_network_that_the_weights_do_not_fit_is_refused_before_it_takes_memory(
    run: Path, marker: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one would have 60 GB."""
    monkeypatch.setattr("lightdiff.lightning.checkpoint.model_from_config", None)
    write(run, lambda content: content["lightdiff"]["model"]["network"].update(widths=[16_384, 32_768]))
    with pytest.raises(CheckpointError, match=r"in this file and \[16384, .* in the model that it describes"):
        load_model(run)
    refused_everywhere(run, command, marker)


def test_weights_that_are_one_number_many_times_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no space in the file, and all of it in the model."""

    def shrink(content: dict[str, Any]) -> None:
        state = content["state_dict"]
        state.update({name: torch.zeros(()).expand(weight.shape) for name, weight in state.items() if "net" in name})

    monkeypatch.setattr("lightdiff.lightning.checkpoint.model_from_config", None)
    write(run, shrink)
    with pytest.raises(CheckpointError, match=r"its weights have \d+ bytes, the model that it describes \d+"):
        load_model(run)


def test_a_list_of_a_million_tensors_is_not_parsed(trained: Path, tmp_path: Path) -> None:
    save_export(load_model(trained), tmp_path, weights="ema")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((90_000_000).to_bytes(8, "little") + b"{")
        file.truncate(90_000_008)
    with pytest.raises(
        CheckpointError, match="model.safetensors: not readable .its list of tensors has 90000000 bytes"
    ):
        load_model(tmp_path)


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
    "an impossible value": {"value_range": [1, -1]},
    "a value of another type": {"image_shape": "abc"},
}


@pytest.mark.parametrize("name", list(DESCRIPTIONS))
def test_a_description_of_another_kind_is_refused(name: str, run: Path, command: Command, marker: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        wrong = DESCRIPTIONS[name]
        model = content["lightdiff"]["model"]
        content["lightdiff"]["model"] = {**model, **wrong} if isinstance(wrong, dict) else wrong

    write(run, change)
    refused_everywhere(run, command, marker)
