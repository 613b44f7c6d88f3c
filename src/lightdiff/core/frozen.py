"""A frozen trained model that helps another one: it is neither trained nor saved with it."""

from __future__ import annotations

import copy
import hashlib
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class Frozen(Generic[Module]):
    """A frozen copy of a module, in eval mode, which moves to the device and the dtype of the images where it is used.

    It is no module itself, so that whoever holds it neither trains nor saves nor averages its weights.

    Args:
        module: the trained module. It is copied and stays as it is.

    Attributes:
        module: the copy.
        sha256: SHA-256 of the weights, which tells whether two modules are the same.
    """

    def __init__(self, module: Module) -> None:
        # weights that were copied or moved in inference mode could not be used where gradients are needed
        with torch.inference_mode(False):
            self.module: Module = copy.deepcopy(module).eval().requires_grad_(False)
        self.sha256 = _sha256_of(module)
        self._place: tuple[torch.device, torch.dtype] | None = None

    def at(self, like: Tensor) -> Module:
        """Return the module on the device and in the dtype of a tensor."""
        place = like.device, like.dtype
        if self._place != place:
            with torch.inference_mode(False):
                self.module.to(*place)
            self._place = place
        return self.module


def _sha256_of(module: nn.Module) -> str:
    """Return the SHA-256 of the weights with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, weight in module.state_dict().items():
        if isinstance(weight, Tensor):
            digest.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
