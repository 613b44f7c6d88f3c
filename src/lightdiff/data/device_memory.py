"""How much memory a device has left."""

from __future__ import annotations

import torch


def free_memory(device: torch.device) -> float:
    """Return the bytes of a GPU's memory that this process may still take; 0 for other devices."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    allowed = getattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)(device)
    return min(free, allowed * total)
