"""The entries of a condition that belong to one of several models, where models draw an image together.

The entries of the model that draws have plain names, such as "vector". Those of a model that helps begin with its own name and
a dot, such as "3f9a.vector". So one condition goes along with the images through every kind of guidance and every sampler.
"""

from __future__ import annotations

from torch import Tensor

from lightdiff.core.denoiser import Condition, second_time
from lightdiff.core.guidance.base import DenoiserFunction
from lightdiff.core.schedule import NoiseSchedule


def entries_of(cond: Condition | None, owner: str = "") -> Condition | None:
    """Return the entries of `owner` by their plain names, None where there are none. "" is the model that draws."""
    own = {name.rpartition(".")[2]: value for name, value in (cond or {}).items() if name.rpartition(".")[0] == owner}
    return own or None


class OwnEntries:
    """A denoiser that gets only its own entries of a condition for several models.

    It is called exactly like a `Denoiser`.

    Args:
        denoiser: the denoiser of the model that draws.
    """

    def __init__(self, denoiser: DenoiserFunction) -> None:
        self.denoiser = denoiser
        self.schedule: NoiseSchedule = denoiser.schedule  # type: ignore[attr-defined]
        self.value_range: tuple[float, float] | None = getattr(denoiser, "value_range", (-1.0, 1.0))
        self.takes_s: bool = getattr(denoiser, "takes_s", False)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        """Return the denoiser's x0_hat (B, C, H, W); the arguments are those of `Denoiser`."""
        return self.denoiser(x_t, t, entries_of(cond), **second_time(self, s))
