"""The network of a pretrained model of diffusers: what model=diffusers_unet leaves null is as in the folder of init_from."""

from __future__ import annotations

from typing import Any

from lightdiff.config.from_data import filled
from lightdiff.model import CheckpointError, find_checkpoint
from lightdiff.model.diffusers_folder import NETWORK, network_of
from lightdiff.utils.weight_files import STEM


def with_pretrained_network(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with the null settings of its UNet2DModel taken from the folder of diffusers that init_from names.

    Every other configuration is returned as it is, also one with an init_from that cannot be loaded, which whoever loads it says.
    """
    path = config.get("init_from")
    if not isinstance(path, str) or (config.get("model") or {}).get("_target_") != NETWORK:
        return config
    try:
        weights = find_checkpoint(path)
        return filled(config, {"model": network_of(weights)}) if weights.name.startswith(STEM) else config
    except CheckpointError:
        return config
