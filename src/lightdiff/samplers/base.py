"""Sampler: from noise to images along a grid of times.

A sampler knows the schedule and x0_hat, nothing else: a denoiser is any callable (x_t, t (B,), cond) -> x0_hat that has the
attribute `schedule` (and `value_range`, where x0 is not in [-1, 1]). In a step, t is the time now and s < t the next one.

Gradients are not switched off here; put a call under `torch.inference_mode()`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from lightdiff.core import BlockGenerator, Condition, Noise, NoiseSchedule
from lightdiff.samplers.clipping import clip_x0

Generator = torch.Generator | BlockGenerator


class DenoiserLike(Protocol):
    """What samplers ask of a denoiser: `Denoiser`, `ClassifierFreeGuidance`, or a formula."""

    schedule: NoiseSchedule

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, /) -> Tensor: ...


@dataclass(frozen=True)
class SamplerState:
    """A stop on the way: x_t (B, C, H, W) at time t, and the image x0_hat that is guessed from it."""

    x_t: Tensor
    x0_hat: Tensor
    t: float


Predict = Callable[[Tensor, float], Tensor]
"""(x_t, t) -> clipped x0_hat."""

Advance = Callable[[Tensor, float, float], tuple[Tensor, Tensor]]
"""(x_t, t, s) -> (x0_hat at x_t, x_s); may remember earlier steps."""


@dataclass(frozen=True)
class Sampler(ABC):
    """Base of the samplers: the loop over the grid.

    Args:
        clip_denoised: clip x0_hat to the denoiser's value_range, before it is used.
        dynamic_threshold: or shrink x0_hat until this share of each image's pixels lies within, then clip; 0.995, say.
        grid: (schedule, num_steps) -> decreasing times (num_steps + 1,); None: the schedule's `default_grid`.

    Raises:
        ValueError: dynamic_threshold not in (0, 1].
    """

    clip_denoised: bool = field(default=False, kw_only=True)
    dynamic_threshold: float | None = field(default=None, kw_only=True)
    grid: Callable[[NoiseSchedule, int], Tensor] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.dynamic_threshold is not None and not 0 < self.dynamic_threshold <= 1:
            raise ValueError(f"dynamic_threshold={self.dynamic_threshold}: null or a number in (0, 1] is expected")

    @property
    def added_noise(self) -> str | None:
        """The setting that makes this sampler add noise on the way, for messages; None: it adds none."""
        return None

    def times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        """The grid (num_steps + 1,), float64 on the CPU.

        Raises:
            ValueError: num_steps or the schedule does not fit the grid, or the grid is not a decreasing list of times.
        """
        grid = schedule.default_grid if self.grid is None else self.grid
        times = torch.as_tensor(grid(schedule, num_steps), dtype=torch.float64, device="cpu")
        if times.shape != (num_steps + 1,) or not (times.diff() < 0).all() or times[-1] < 0:
            raise ValueError(f"grid={grid}: {num_steps + 1} decreasing times, none below 0, are expected")
        return times

    def check(self, schedule: NoiseSchedule, num_steps: int | None = None, noise: Noise | None = None) -> None:
        """Refuse what cannot work before any work is done.

        Args:
            schedule: what the model was trained with.
            num_steps: steps wanted; None: not looked at.
            noise: what the model was trained with; None: not looked at.

        Raises:
            ValueError: in one line that names the setting.
        """
        if num_steps is not None:
            self.times(schedule, num_steps)
        if noise is not None and not noise.is_gaussian and self.added_noise:
            raise ValueError(
                f"{self.added_noise}: it adds Gaussian noise on the way, but this model knows {type(noise).__name__}; "
                "choices: sampler=ddim with eta=0, heun with s_churn=0, dpmpp_2m"
            )

    def trajectory(
        self,
        denoiser: DenoiserLike,
        x_T: Tensor,
        num_steps: int,
        cond: Condition | None = None,
        generator: Generator | None = None,
    ) -> Iterator[SamplerState]:
        """All states from x_T to the image: num_steps + 1 of them.

        Args:
            denoiser: (x_t, t (B,), cond) -> x0_hat, with the attribute `schedule`.
            x_T: (B, C, H, W) at the grid's first time: schedule.prior_std * noise.
            num_steps: steps.
            cond: handed to the denoiser.
            generator: source of the noise added on the way; None: torch's own.

        Yields:
            SamplerState at each time of the grid. The last has the final x and the x0_hat of the step before.

        Raises:
            ValueError: as `times`, when the first state is asked for.
        """
        schedule = denoiser.schedule
        value_range = getattr(denoiser, "value_range", (-1.0, 1.0))
        times = self.times(schedule, num_steps).tolist()

        def predict(x_t: Tensor, t: float) -> Tensor:
            time = torch.full((len(x_t),), t, dtype=torch.promote_types(x_t.dtype, torch.float32), device=x_t.device)
            x0_hat = denoiser(x_t, time, cond)
            return clip_x0(x0_hat, value_range, self.clip_denoised, self.dynamic_threshold)

        advance = self._advance(predict, schedule, num_steps, generator)
        x_t = x_T
        for t, s in pairwise(times):
            x0_hat, x_s = advance(x_t, t, s)
            yield SamplerState(x_t, x0_hat, t)
            x_t = x_s
        yield SamplerState(x_t, x0_hat, times[-1])

    def sample(
        self,
        denoiser: DenoiserLike,
        x_T: Tensor,
        num_steps: int,
        cond: Condition | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """x (B, C, H, W) at the grid's last time; arguments as for `trajectory`."""
        return deque(self.trajectory(denoiser, x_T, num_steps, cond, generator), maxlen=1)[0].x_t

    @abstractmethod
    def _advance(
        self, predict: Predict, schedule: NoiseSchedule, num_steps: int, generator: Generator | None
    ) -> Advance:
        """The step function of one trajectory."""


class OneStepSampler(Sampler):
    """Base of the samplers whose step needs x0_hat at x_t only."""

    @abstractmethod
    def step(
        self,
        schedule: NoiseSchedule,
        x_t: Tensor,
        x0_hat: Tensor,
        t: Tensor,
        s: Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """x_s (B, ...) from x_t (B, ...), x0_hat (B, ...) and times t > s, (B,)."""

    def _advance(
        self, predict: Predict, schedule: NoiseSchedule, num_steps: int, generator: Generator | None
    ) -> Advance:
        def advance(x_t: Tensor, t: float, s: float) -> tuple[Tensor, Tensor]:
            x0_hat = predict(x_t, t)
            return x0_hat, self.step(schedule, x_t, x0_hat, times_like(x_t, t), times_like(x_t, s), generator)

        return advance


def times_like(x: Tensor, t: float) -> Tensor:
    """t (B,) for a batch x, as exact as its device allows."""
    return torch.full((len(x),), t, dtype=torch.float32 if x.device.type == "mps" else torch.float64, device=x.device)


@dataclass(frozen=True)
class Scales:
    """The schedule at one time, as plain numbers."""

    alpha: float
    sigma: float

    @classmethod
    def at(cls, schedule: NoiseSchedule, t: float) -> Scales:
        time = torch.tensor([t], dtype=torch.float64)
        return cls(schedule.alpha(time).item(), schedule.sigma(time).item())

    @property
    def ratio(self) -> float:
        """sigma/alpha; infinite where alpha is 0."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf
