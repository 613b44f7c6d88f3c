"""The base classes of the samplers, with the loop over the time grid.

A sampler uses a denoiser only to get x0_hat, and the schedule to get alpha and sigma. A denoiser is any callable
(x_t, t (B,), cond) -> x0_hat with the attribute `schedule`, and the attribute `value_range` if x0 is not in [-1, 1]. In a step, t
is the current time and s < t the next one. A denoiser with the attribute takes_s = True gives the x0_hat of the jump from t to s
where it is called with the keyword s (B,); `DDIM` with eta = 0 does so, all other samplers use the ordinary x0_hat.

The samplers do not switch off gradients. Call them within `torch.inference_mode()` where none are needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from lightdiff.core import BlockGenerator, Condition, Noise, NoiseSchedule, Scales, second_time
from lightdiff.samplers.clipping import clip_x0

Generator = torch.Generator | BlockGenerator


class DenoiserLike(Protocol):
    """The interface of denoisers that samplers need, such as `Denoiser`, `ClassifierFreeGuidance`, or a formula in tests."""

    schedule: NoiseSchedule

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, /) -> Tensor: ...


@dataclass(frozen=True)
class SamplerState:
    """The state of a sampler at one time: x_t (B, C, H, W), the time t, and the x0_hat (B, C, H, W) computed from them."""

    x_t: Tensor
    x0_hat: Tensor
    t: float


class Predict(Protocol):
    """Function (x_t, t) -> x0_hat, clipped as the sampler's settings say.

    With a third argument s it gives the x0_hat of the jump from t to s, if the denoiser knows such jumps.
    """

    def __call__(self, x_t: Tensor, t: float, s: float | None = None, /) -> Tensor: ...


@dataclass(frozen=True)
class GridTime:
    """One time of a sampler's grid.

    Args:
        t: the time.
        scales: the scales of the schedule at t, as single numbers () that multiply images on any device.
    """

    t: float
    scales: Scales

    @property
    def ratio(self) -> float:
        """Noise level sigma / alpha, infinite if alpha is 0."""
        return self.scales.ratio.item()


def grid_times(schedule: NoiseSchedule, times: Tensor, x: Tensor) -> list[GridTime]:
    """Return the times (N,) with the scales of the schedule, which are computed at once, for images x (B, ...)."""
    scales = schedule.exact(times)
    if x.device.type == "mps":
        scales = scales.to(torch.float32)
    pairs = zip(scales.alpha.unbind(), scales.sigma.unbind(), strict=True)
    return [GridTime(t, Scales(*pair)) for t, pair in zip(times.tolist(), pairs, strict=True)]


Advance = Callable[[Tensor, GridTime, GridTime], tuple[Tensor, Tensor]]
"""Function (x_t, t, s) -> (x0_hat at x_t, x_s). It may keep results of earlier steps of the same trajectory."""


@dataclass(frozen=True)
class Sampler(ABC):
    """Base class of the samplers. It contains the loop over the time grid; a subclass implements the step.

    Args:
        clip_denoised: clip x0_hat to the denoiser's value_range, where it has one, before it is used.
        dynamic_threshold: first shrink x0_hat until this share of each image's pixels is in the value_range, then clip. It is in
            (0, 1], for example 0.995. None: x0_hat is not shrunk.
        grid: function (schedule, num_steps) -> decreasing times (num_steps + 1,). None takes the schedule's `default_grid`.

    Raises:
        ValueError: dynamic_threshold is not in (0, 1].
    """

    clip_denoised: bool = field(default=False, kw_only=True)
    dynamic_threshold: float | None = field(default=None, kw_only=True)
    grid: Callable[[NoiseSchedule, int], Tensor] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.dynamic_threshold is not None and not 0 < self.dynamic_threshold <= 1:
            raise ValueError(f"dynamic_threshold={self.dynamic_threshold}: null or a number in (0, 1] is expected")

    @property
    def added_noise(self) -> str | None:
        """Setting that makes this sampler add noise on the way, as messages name it. None: the sampler adds no noise."""
        return None

    def times(self, schedule: NoiseSchedule, num_steps: int) -> Tensor:
        """Return the times (num_steps + 1,) of the grid, decreasing, float64 on the CPU.

        Raises:
            ValueError: num_steps or the schedule does not fit the grid, or the grid returned something else.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps={num_steps}: 1 or more is expected")
        if num_steps != int(num_steps):
            raise ValueError(f"num_steps={num_steps}: a whole number is expected")
        grid = schedule.default_grid if self.grid is None else self.grid
        times = torch.as_tensor(grid(schedule, num_steps), dtype=torch.float64, device="cpu")
        if times.shape != (num_steps + 1,) or not (times.diff() < 0).all() or times[-1] < 0:
            raise ValueError(f"grid={grid}: {num_steps + 1} decreasing times, none below 0, are expected")
        return times

    def check(self, schedule: NoiseSchedule, num_steps: int | None = None, noise: Noise | None = None) -> None:
        """Check, before anything is computed, that this sampler works with a model.

        Args:
            schedule: noise schedule of the model.
            num_steps: number of steps. None leaves the grid unchecked.
            noise: noise that the model was trained with. None leaves it unchecked.

        Raises:
            ValueError: the grid does not fit, or the sampler adds Gaussian noise for a model of other noise.
        """
        if num_steps is not None:
            self.times(schedule, num_steps)
        if noise is not None and not noise.is_gaussian and self.added_noise:
            # the table of all samplers imports this file
            from lightdiff.samplers import noiseless

            raise ValueError(
                f"{self.added_noise}: it adds Gaussian noise, but this model was trained with {type(noise).__name__}; "
                f"choices: sampler={', '.join(noiseless())}, with their usual settings"
            )

    def trajectory(
        self,
        denoiser: DenoiserLike,
        x_T: Tensor,
        num_steps: int,
        cond: Condition | None = None,
        generator: Generator | None = None,
    ) -> Iterator[SamplerState]:
        """Yield the states from x_T to the image.

        Args:
            denoiser: callable (x_t, t (B,), cond) -> x0_hat with the attribute `schedule`.
            x_T: x at the grid's first time (B, C, H, W), in general schedule.prior_std * noise.
            num_steps: number of steps, at least 1.
            cond: condition that is passed to the denoiser.
            generator: source of the noise that is added on the way. None takes torch's global generator.

        Yields:
            num_steps + 1 states, one for each time of the grid. The last one has the final x and the x0_hat of the last step.

        Raises:
            ValueError: the grid does not fit, as in `times`. It is raised when the first state is requested.
        """
        schedule = denoiser.schedule
        value_range = getattr(denoiser, "value_range", (-1.0, 1.0))
        times = grid_times(schedule, self.times(schedule, num_steps), x_T)

        def predict(x_t: Tensor, t: float, s: float | None = None) -> Tensor:
            time = torch.full((len(x_t),), t, dtype=torch.promote_types(x_t.dtype, torch.float32), device=x_t.device)
            end = None if s is None else torch.full_like(time, s)
            x0_hat = denoiser(x_t, time, cond, **second_time(denoiser, end))
            return clip_x0(x0_hat, value_range, self.clip_denoised, self.dynamic_threshold)

        advance = self._advance(predict, schedule, num_steps, generator)
        x_t = x_T
        for t, s in pairwise(times):
            x0_hat, x_s = advance(x_t, t, s)
            yield SamplerState(x_t, x0_hat, t.t)
            x_t = x_s
        yield SamplerState(x_t, x0_hat, times[-1].t)

    def sample(
        self,
        denoiser: DenoiserLike,
        x_T: Tensor,
        num_steps: int,
        cond: Condition | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return x (B, C, H, W) at the grid's last time. The arguments are those of `trajectory`."""
        return deque(self.trajectory(denoiser, x_T, num_steps, cond, generator), maxlen=1)[0].x_t

    @abstractmethod
    def _advance(
        self, predict: Predict, schedule: NoiseSchedule, num_steps: int, generator: Generator | None
    ) -> Advance:
        """Return the step function for one trajectory."""


class OneStepSampler(Sampler):
    """Base class of the samplers whose step needs no other x0_hat than the one at x_t."""

    @property
    def uses_jumps(self) -> bool:
        """Whether the step from t to s is exact with the x0_hat of that jump, which the denoiser is then asked for."""
        return False

    def step(
        self,
        schedule: NoiseSchedule,
        x_t: Tensor,
        x0_hat: Tensor,
        t: Tensor,
        s: Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return x_s (B, ...), computed from x_t (B, ...), x0_hat (B, ...) and the times t (B,) and s (B,), s < t.

        `generator` is the source of added noise. None takes torch's global generator.
        """
        return self.step_at(x_t, x0_hat, schedule.exact(t), schedule.exact(s), generator)

    @abstractmethod
    def step_at(
        self, x_t: Tensor, x0_hat: Tensor, at_t: Scales, at_s: Scales, generator: Generator | None = None
    ) -> Tensor:
        """Return x_s (B, ...) as `step` does, from the scales at t and at s: numbers for each image (B,), or single ones ()."""

    def _advance(
        self, predict: Predict, schedule: NoiseSchedule, num_steps: int, generator: Generator | None
    ) -> Advance:
        def advance(x_t: Tensor, t: GridTime, s: GridTime) -> tuple[Tensor, Tensor]:
            x0_hat = predict(x_t, t.t, s.t if self.uses_jumps else None)
            return x0_hat, self.step_at(x_t, x0_hat, t.scales, s.scales, generator)

        return advance


def times_like(x: Tensor, t: float) -> Tensor:
    """Return the time t for each image of the batch x: (B,), float64 unless the device of x has only float32."""
    return torch.full((len(x),), t, dtype=torch.float32 if x.device.type == "mps" else torch.float64, device=x.device)
