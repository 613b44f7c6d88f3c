"""Decide whether the images of a data set are kept on the training's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from lightdiff.data.image_store import ImageStore, MemoryStore

SHARE_OF_MEMORY = 0.25
"""Largest share of a GPU's free memory that images may take; the network needs the rest."""


def residence(
    resident: Literal["auto", True, False], stores: Sequence[ImageStore], device: torch.device
) -> tuple[bool, str]:
    """Return whether images are kept on this device, and the reason.

    Args:
        resident: what the user asks for.
        stores: the images, all of them in memory or none.
        device: the training's device.
    """
    if not all(isinstance(store, MemoryStore) for store in stores):
        return False, "read file by file"
    if resident != "auto":
        return resident, "as set"
    if device.type == "cpu":
        return False, "the CPU has them"
    needed, free = sum(store.num_bytes for store in stores), free_memory(device)
    return needed <= SHARE_OF_MEMORY * free, f"{needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free"


def free_memory(device: torch.device) -> float:
    """Return the bytes of a GPU's memory that this process may still take; 0 for other devices."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    allowed = getattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)(device)
    return min(free, allowed * total)
