"""conf/model: every file builds its network, states its true size, and presets equal the constructors' defaults."""

from __future__ import annotations

import inspect
import re

import pytest
import torch

import lightdiff.networks
from lightdiff.config.instantiate import instantiate
from runs import ROOT, composed

FILES = sorted((ROOT / "conf" / "model").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
FROM_ELSEWHERE = {"channels", "image_size", "cond_dim", "token_dim", "image_channels"}
"""Keys whose values come from the data set and the condition."""


def model_config(name: str, channels: int = 1) -> dict:
    conditioning = "text" if name == "diffusers_text_unet" else "none"
    overrides = (f"model={name}", f"conditioning={conditioning}", f"dataset.channels={channels}")
    return composed(*overrides, "dataset.image_size=32")["model"]


def count(config: dict) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in instantiate(config).parameters())


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_counts_that_a_file_states_are_true(path) -> None:
    stated = re.search(r"(\d[\d,]{4,}) parameters(?: with (\d|one) channel)?", path.read_text())
    if stated is None:
        assert count(model_config(path.stem)) > 0
        return
    channels = int(stated[2]) if (stated[2] or "").isdigit() else 1
    assert count(model_config(path.stem, channels)) == int(stated[1].replace(",", ""))


def test_the_files_with_a_count_are_found() -> None:
    stating = {path.stem for path in FILES if re.search(r"\d[\d,]{4,} parameters", path.read_text())}
    assert stating >= {"unet", "unet_small", "simple_unet", "basic_unet"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # by hand: blocks 12 (18 w^2 + 15 w), embedding 256 w + w + w^2 + w, patches 12 w + w, last layer 2 w^2 + 2 w + 12 w + 12
        ("dit", 12 * (18 * 384**2 + 15 * 384) + 384**2 + 258 * 384 + 13 * 384 + 2 * 384**2 + 14 * 384 + 12),
        ("resunet", 29_061_251),
    ],
)
def test_counts_of_our_own(name: str, expected: int) -> None:
    assert count(model_config(name, channels=3)) == expected


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_small")])
def test_presets_are_the_constructors_defaults(name: str) -> None:
    config = model_config(name)
    network = getattr(lightdiff.networks, config.pop("_target_").rpartition(".")[2])
    defaults = {key: parameter.default for key, parameter in inspect.signature(network).parameters.items()}
    assert set(config) == set(defaults)
    for key in set(config) - FROM_ELSEWHERE:
        value = config[key]
        assert (tuple(value) if isinstance(value, list) else value) == defaults[key], key


@pytest.mark.parametrize("name", NAMES)
def test_every_network_takes_an_image_as_its_condition(name: str) -> None:
    with torch.device("meta"):
        network = instantiate({**model_config(name), "image_channels": 2})
    assert "image" in network.cond_keys
