"""Models of a stranger who wants his code to run: none runs, and each is refused in one line (SECURITY.md).

What would run leaves a marker behind. The tests called test_it_would_... show that it does so where nobody guards.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from hostile import NAMES, Command, asking, closed, payloads, planted, refused, refused_everywhere, tampered
from lightdiff import load_model
from lightdiff.conditioning import clip_encoder
from lightdiff.config.instantiate import instantiate
from lightdiff.model import CheckpointError, read_checkpoint, save_export
from tiny_clip import WIDTH

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

    path = tampered(run, plant)
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
    "where",
    [
        "network",
        "schedule",
        "schedule.betas",
        "prediction",
        "objective.weighting",
        "codec",
        "conditioning",
        "conditioning.extra",
    ],
)
def test_names_in_a_checkpoint_are_not_called(where: str, name: str, run: Path, marker: Path, command: Command) -> None:
    asked = asking(name, marker)
    for thing in (asked, [asked], {"inner": asked}, {**asked, "_partial_": True}):
        tampered(run, lambda content, thing=thing: planted(content["lightdiff"]["model"], where, thing))
        # a list is refused by its type, before anyone looks at the names in it
        reason = (
            "list found: a mapping is expected"
            if "." not in where and isinstance(thing, list)
            else "a file may only name"
        )
        with pytest.raises(CheckpointError, match=reason) as caught:
            load_model(run)
        assert isinstance(thing, list) or f"_target_={name}: " in str(caught.value)
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


# -- other people's computers ------------------------------------------------------------------------------------------


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
    tampered(run, lambda content: planted(content["lightdiff"]["model"], where, thing))
    with pytest.raises(CheckpointError, match="pretrained=someone/elses: not fetched for a checkpoint"):
        load_model(run)
    assert not marker.exists()
