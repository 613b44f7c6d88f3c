"""TimeSampler: at which times a network is trained.

Called with a batch size and a schedule, gives times (B,), float32, on the generator's device. A schedule that is a table trains
at its points only (t = 1/T, ..., 1: the last timestep is trained, t = 0 is not): each time is moved up to the next point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from lightdiff.core.discrete import DiscreteSchedule
from lightdiff.core.schedule import NoiseSchedule


class TimeSampler(ABC):
    """Base of the time samplers."""

    def __call__(
        self,
        batch_size: int,
        schedule: NoiseSchedule,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Times (batch_size,) in [0, 1]; `device` is where they are drawn, that of the generator where None.

        Raises:
            ValueError: the schedule does not fit.
        """
        self.check(schedule)
        device = torch.device(device or (generator.device if generator is not None else "cpu"))
        dtype = torch.float32 if device.type == "mps" else torch.float64
        draw = _Draw(batch_size, generator, device, dtype)
        return schedule.snap(self._times(draw, schedule).clamp(0, 1)).to(torch.float32)

    def check(self, schedule: NoiseSchedule) -> None:
        """ValueError where this schedule does not fit."""

    @abstractmethod
    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor: ...


@dataclass(frozen=True)
class _Draw:
    """Where one batch's random numbers come from."""

    batch_size: int
    generator: torch.Generator | None
    device: torch.device
    dtype: torch.dtype

    def uniform(self) -> Tensor:
        return torch.rand(self.batch_size, generator=self.generator, device=self.device, dtype=self.dtype)

    def normal(self) -> Tensor:
        return torch.randn(self.batch_size, generator=self.generator, device=self.device, dtype=self.dtype)

    def permutation(self) -> Tensor:
        return torch.randperm(self.batch_size, generator=self.generator, device=self.device)


@dataclass(frozen=True)
class UniformTime(TimeSampler):
    """t uniform in [0, 1]; with a table every timestep is equally likely. Right for every schedule."""

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return draw.uniform()


@dataclass(frozen=True)
class DiscreteUniformTime(UniformTime):
    """Every timestep equally likely, as `UniformTime`, but refuses a schedule without timesteps."""

    def check(self, schedule: NoiseSchedule) -> None:
        if not isinstance(schedule, DiscreteSchedule):
            raise ValueError(
                f"time_sampler=discrete_uniform: it needs a schedule with timesteps, not {type(schedule).__name__}; "
                "choices: uniform, stratified, logit_normal, log_normal_sigma"
            )


@dataclass(frozen=True)
class StratifiedTime(TimeSampler):
    """One uniform t from each of B equal parts of [0, 1], in random order: the loss of a batch varies less."""

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return (draw.permutation() + draw.uniform()) / draw.batch_size


@dataclass(frozen=True)
class LogNormalSigmaTime(TimeSampler):
    """log(sigma/alpha) ~ N(p_mean, p_std^2) (Karras et al. 2022, arXiv:2206.00364, table 1).

    Raises:
        ValueError: p_std not above 0; when called, a schedule without inverse.
    """

    p_mean: float = -1.2
    p_std: float = 1.2

    def __post_init__(self) -> None:
        if not self.p_std > 0:
            raise ValueError(f"p_std={self.p_std}: a number above 0 is expected")

    def check(self, schedule: NoiseSchedule) -> None:
        if not schedule.has_inverse:
            raise ValueError(
                "time_sampler=log_normal_sigma: it needs a schedule with an inverse (t_from_log_snr), which "
                f"{type(schedule).__name__} has not; choices: uniform, stratified, logit_normal"
            )

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return schedule.t_from_log_snr(-2 * (self.p_mean + self.p_std * draw.normal()))


@dataclass(frozen=True)
class LogitNormalTime(TimeSampler):
    """logit(t) ~ N(mean, std^2): most often the middle (Esser et al. 2024, arXiv:2403.03206, eq. 19).

    Raises:
        ValueError: std not above 0.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"std={self.std}: a number above 0 is expected")

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return torch.sigmoid(self.mean + self.std * draw.normal())
