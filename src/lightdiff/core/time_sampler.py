"""Time samplers: the distributions of the times at which a network is trained.

What a time means depends on the schedule. On most schedules times that are uniform in [0, 1] train all noise levels. On the EDM
schedule sigma = 80 t, so that 98.75 % of them have a noise level above 1, where little of the image is left to learn. Therefore
`DefaultTime` asks the schedule, as samplers without a grid of their own do.

A time sampler is called with a batch size and a schedule, and returns times (B,), float32, on the generator's device. With a
discrete schedule each time is moved up to the next timestep, so a network is trained at t = 1/T, ..., 1 and never at t = 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lightdiff.core.needs import INVERSE, TIMESTEPS, Need, check_needs

if TYPE_CHECKING:
    from lightdiff.core.schedule import NoiseSchedule


class TimeSampler(ABC):
    """Base class of the time samplers."""

    needs: ClassVar[tuple[Need, ...]] = ()
    """What the time sampler needs of a schedule."""

    def __call__(
        self,
        batch_size: int,
        schedule: NoiseSchedule,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return random times (batch_size,) in [0, 1], float32.

        Args:
            batch_size: number of times.
            schedule: noise schedule that the network is trained with.
            generator: source of the random numbers. None takes torch's global generator.
            device: device on which the times are drawn. None takes the generator's, or the CPU.

        Raises:
            ValueError: this time sampler does not fit the schedule.
        """
        self.check(schedule)
        device = torch.device(device or (generator.device if generator is not None else "cpu"))
        dtype = torch.float32 if device.type == "mps" else torch.float64
        draw = _Draw(batch_size, generator, device, dtype)
        return schedule.snap(self._times(draw, schedule).clamp(0, 1)).to(torch.float32)

    def check(self, schedule: NoiseSchedule) -> None:
        """Check that this time sampler fits the schedule.

        Raises:
            ValueError: it does not fit.
        """
        check_needs(type(self), TimeSampler, schedule)

    @abstractmethod
    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        """Return random times (batch_size,), with all random numbers taken from `draw`."""


@dataclass(frozen=True)
class _Draw:
    """The source of random numbers for one batch: each method returns a tensor (batch_size,)."""

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
    """Times that are uniform in [0, 1]; with a discrete schedule every timestep is equally likely.

    It can be drawn with every schedule, but it trains badly with the EDM schedule, where nearly all noise levels are too high.
    """

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return draw.uniform()


@dataclass(frozen=True)
class DiscreteUniformTime(UniformTime):
    """Timesteps that are all equally likely. Unlike `UniformTime`, it refuses schedules that are not discrete."""

    needs: ClassVar[tuple[Need, ...]] = (TIMESTEPS,)


@dataclass(frozen=True)
class StratifiedTime(TimeSampler):
    """One uniform time from each of B equal parts of [0, 1], in random order, so that the loss of a batch varies less."""

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return (draw.permutation() + draw.uniform()) / draw.batch_size


@dataclass(frozen=True)
class LogNormalSigmaTime(TimeSampler):
    """Times with a log-normal noise level: log(sigma/alpha) ~ N(p_mean, p_std^2) (Karras et al. 2022, arXiv:2206.00364, table 1).

    Args:
        p_mean: mean of log(sigma/alpha).
        p_std: standard deviation of log(sigma/alpha), above 0.

    Raises:
        ValueError: p_std is not above 0. Also on a call: the schedule has no inverse.
    """

    needs: ClassVar[tuple[Need, ...]] = (INVERSE,)

    p_mean: float = -1.2
    p_std: float = 1.2

    def __post_init__(self) -> None:
        if not self.p_std > 0:
            raise ValueError(f"p_std={self.p_std}: a number above 0 is expected")

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return schedule.t_from_log_snr(-2 * (self.p_mean + self.p_std * draw.normal()))


@dataclass(frozen=True)
class LogitNormalTime(TimeSampler):
    """Times with a normally distributed logit: log(t / (1 - t)) ~ N(mean, std^2) (Esser et al. 2024, arXiv:2403.03206, eq. 19).

    With the defaults, times near 1/2 are the most frequent.

    Args:
        mean: mean of the logit.
        std: standard deviation of the logit, above 0.
        share_at_1: share of the times that are exactly 1, where sampling begins. Models that draw in one step need many of them.

    Raises:
        ValueError: std is not above 0, or share_at_1 is not in [0, 1].
    """

    mean: float = 0.0
    std: float = 1.0
    share_at_1: float = 0.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"std={self.std}: a number above 0 is expected")
        if not 0 <= self.share_at_1 <= 1:
            raise ValueError(f"share_at_1={self.share_at_1}: a number from 0 to 1 is expected")

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        times = torch.sigmoid(self.mean + self.std * draw.normal())
        return torch.where(draw.uniform() < self.share_at_1, 1.0, times) if self.share_at_1 > 0 else times


@dataclass(frozen=True)
class DefaultTime(TimeSampler):
    """The times of the schedule's own time sampler, `schedule.default_time_sampler`, or where it has none those of `usual`.

    Args:
        usual: time sampler for schedules that ask for none.
    """

    usual: TimeSampler = UniformTime()

    def check(self, schedule: NoiseSchedule) -> None:
        self._chosen(schedule).check(schedule)

    def _times(self, draw: _Draw, schedule: NoiseSchedule) -> Tensor:
        return self._chosen(schedule)._times(draw, schedule)

    def _chosen(self, schedule: NoiseSchedule) -> TimeSampler:
        return schedule.default_time_sampler or self.usual
