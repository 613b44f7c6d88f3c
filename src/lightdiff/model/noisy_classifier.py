"""Read and write a classifier of noisy images: `<name>.safetensors`, and `<name>.json` with what is known of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate
from lightdiff.core import NoisyClassifier
from lightdiff.model.errors import CheckpointError
from lightdiff.model.limits import check_fit, check_header, check_length
from lightdiff.utils.files import replaced, sha256_of, user_path
from lightdiff.utils.structure import COUNT, MAPPING, TEXT, Items, Keys

FACTS = Keys(network=MAPPING, class_names=Items(TEXT), image_shape=Items(COUNT), sha256=TEXT)
"""What is known of a classifier, as its JSON file says."""


def save_noisy_classifier(path: Path, network: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write a classifier and what is known of it; return the latter.

    Args:
        path: its .safetensors file.
        network: the trained network, of a class in `lightdiff.networks`.
        facts: class_names, image_shape, and anything else that is plain data.

    Raises:
        OSError: the disk is full or broken; former files are as they were.
    """
    weights = save({name: value.detach().contiguous().cpu() for name, value in network.state_dict().items()})
    known = {"network": config_of(network), **facts, "sha256": hashlib.sha256(weights).hexdigest()}
    # both files are there before either takes its place
    with replaced(path.with_suffix(".json")) as facts_file, replaced(path) as weights_file:
        weights_file.write_bytes(weights)
        facts_file.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return known


def load_noisy_classifier(path: str | Path) -> NoisyClassifier:
    """Load a classifier of noisy images, without running code from its files.

    Args:
        path: its .safetensors file, beside which its .json file lies.

    Raises:
        CheckpointError: a file is missing, broken or hostile; one line that begins with the path.
    """
    weights_file = user_path(path)
    facts_file = weights_file.with_suffix(".json")
    if weights_file.suffix != ".safetensors" or not (weights_file.is_file() and facts_file.is_file()):
        raise CheckpointError(
            f"{path}: the .safetensors file of a classifier of noisy images is expected, with its .json beside it; "
            "train one: python -m lightdiff.commands.train_classifier mnist --noisy"
        )
    try:
        check_length(facts_file)
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
        FACTS.check(facts)
        check_header(weights_file)
        with weights_file.open("rb") as file:
            sha256 = sha256_of(file)
        if sha256 != facts["sha256"]:
            raise ValueError(f"its SHA-256 is {sha256[:12]}..., not the {facts['sha256'][:12]}... of its facts")
        state = load_file(weights_file)
        with torch.device("meta"):
            check_fit(instantiate(facts["network"], key="network", importer=import_safe_target).state_dict(), state)
        network = instantiate(facts["network"], key="network", importer=import_safe_target)
        network.load_state_dict(state)
    # building what a file describes may fail in any way
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: no classifier of noisy images that can be used: {reason}") from error
    return NoisyClassifier(network, facts["class_names"], facts["image_shape"])
