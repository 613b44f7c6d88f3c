"""Objective: the base class of the losses that a denoiser is trained with.

An objective draws all that is random in a loss before the network is called, and computes the loss from what was drawn:

    draw = objective.draw(shape, schedule, generator)
    losses = objective.losses(denoiser, average, x0, draw, cond, progress)

Training draws for the whole batch of all processes, and each process computes the losses of its own rows. Therefore the number
of processes changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.noise import GaussianNoise, Noise
from lightdiff.core.prediction import Prediction
from lightdiff.core.schedule import NoiseSchedule

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Draw:
    """All that is random in the losses of B images. A subclass may add tensors (B, ...), dicts of them, or None.

    Args:
        t: times (B,) in [0, 1], by which the curves of the loss are sorted.
        noise: noise (B, C, H, W).
    """

    t: Tensor
    noise: Tensor

    def rows(self, rows: slice) -> Self:
        """Return what was drawn for some of the images."""
        return self._with_all(lambda tensor: tensor[rows])

    def to(self, device: torch.device) -> Self:
        """Return the same on another device."""
        return self._with_all(lambda tensor: tensor.to(device))

    def _with_all(self, function: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{field.name: _mapped(function, getattr(self, field.name)) for field in fields(self)})


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Return a value with each tensor in it replaced by the function of the tensor."""
    if isinstance(value, dict):
        return {name: _mapped(function, item) for name, item in value.items()}
    return None if value is None else function(value)


class Objective(nn.Module, ABC):
    """Base class of the objectives.

    An objective may own modules. They are trained together with the denoiser and saved beside it, but they are not averaged, and
    sampling does not use them.

    Attributes:
        noise: distribution of the noise that images are mixed with, and of x_T in sampling.
        needs_end: whether the loss changes with `progress`, so that a training without an end would never come to its last form.
    """

    noise: Noise = GaussianNoise()
    needs_end: bool = False

    @property
    def teacher_sha256(self) -> str | None:
        """SHA-256 of the weights of the frozen teacher, which a resumed run needs again; None for an objective without one."""
        return None

    def check(self, prediction: Prediction, schedule: NoiseSchedule) -> None:
        """Check that the objective fits prediction and schedule.

        Raises:
            ValueError: it does not fit.
        """

    def check_training(self, denoiser: Denoiser) -> None:
        """Check that a denoiser can be trained with this objective. A trained model needs no such check.

        Raises:
            ValueError: training could not succeed; one line that begins with a key of the configuration.
        """

    @abstractmethod
    def draw(
        self,
        shape: Sequence[int],
        schedule: NoiseSchedule,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Draw:
        """Draw all that is random in the losses of x0, on the generator's device.

        Args:
            shape: shape (B, C, H, W) of x0.
            schedule: noise schedule of the denoiser.
            generator: source of the numbers.
            dtype: type of x0, in which the noise is drawn.
        """

    def conditioned(self, draw: Draw, inputs: Tensor, drop: Tensor) -> Draw:
        """Return the draw with what the objective's own conditional parts, such as a teacher, are conditioned on.

        Only a few objectives have such parts. It is called for conditional models, between `draw` and `losses`.

        Args:
            draw: what `draw` returned for B images.
            inputs: what the conditioner of the denoiser is given for them (B, ...).
            drop: whether each image (B,) gets the null condition.
        """
        return draw

    def later_state(self, denoiser: Denoiser) -> dict[str, Tensor]:
        """Return tensors of the kinds and names that `state_dict` has from some moment of the training on, all of them or none.

        Their values say nothing. A checkpoint is checked against them before a run goes on.

        Args:
            denoiser: denoiser that is trained.
        """
        return {}

    @abstractmethod
    def losses(
        self,
        denoiser: Denoiser,
        average: Denoiser,
        x0: Tensor,
        draw: Draw,
        cond: Condition | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        """Return the losses (B,) of images x0 (B, C, H, W).

        Args:
            denoiser: denoiser that is trained.
            average: the same with the averaged weights, which are not trained.
            x0: clean images (B, C, H, W).
            draw: what `draw` returned for images of this shape.
            cond: condition of the images, or None.
            progress: how much of the training is done, 0 to 1; 0 where it has no end.
        """

    def forward(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        cond: Condition | None = None,
        *,
        generator: torch.Generator,
        progress: float = 0.0,
    ) -> Tensor:
        """Return the losses (B,) of images x0 (B, C, H, W) with new random numbers, for a training loop of one's own.

        `progress` is as for `losses`.
        """
        draw = self.draw(x0.shape, denoiser.schedule, generator, x0.dtype).to(x0.device)
        return self.losses(denoiser, denoiser, x0, draw, cond, progress)
