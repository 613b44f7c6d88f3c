"""Models that would fill the memory or take for ever are refused before they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hostile import Command, refused, refused_everywhere, tampered
from lightdiff import load_model
from lightdiff.model import CheckpointError, save_export


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
            **{"schedule": (model, "schedule"), "state_dict": (content["state_dict"], "trained.network.inc.weight")},
        }
        node, name = places.get(where, (content, where))
        node[name] = laughs()

    tampered(run, plant)
    refused_everywhere(run, command, marker)
    refused(command("train.py", f"resume={run}"), "last.ckpt: not loaded, it holds more than 1000000 values")


def test_a_list_within_itself_is_refused(run: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    tampered(run, lambda content: content.update(epoch=endless))
    with pytest.raises(CheckpointError, match="not loaded, it holds more than 1000000 values"):
        load_model(run)


def test_a_network_that_the_weights_do_not_fit_is_refused_before_it_takes_memory(
    run: Path, marker: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one would have 60 GB."""
    monkeypatch.setattr("lightdiff.model.loading.model_from_config", None)
    tampered(run, lambda content: content["lightdiff"]["model"]["network"].update(widths=[16_384, 32_768]))
    with pytest.raises(CheckpointError, match=r"in this file and \[16384, .* in the model that it describes"):
        load_model(run)
    refused_everywhere(run, command, marker)


def test_weights_that_are_one_number_many_times_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no space in the file, and all of it in the model."""

    def shrink(content: dict[str, Any]) -> None:
        state = content["state_dict"]
        state.update({name: torch.zeros(()).expand(weight.shape) for name, weight in state.items() if "net" in name})

    monkeypatch.setattr("lightdiff.model.loading.model_from_config", None)
    tampered(run, shrink)
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
