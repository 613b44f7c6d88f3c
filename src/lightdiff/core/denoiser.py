"""Denoiser: the only place that knows network, schedule and prediction together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lightdiff.core.discrete import DiscreteSchedule
from lightdiff.core.prediction import Prediction
from lightdiff.core.schedule import NoiseSchedule
from lightdiff.core.shapes import per_image

Condition = dict[str, Tensor]
"""Any of vector (B, D), tokens (B, L, D), mask (B, L)."""


def _timestep(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    assert isinstance(schedule, DiscreteSchedule)
    return schedule.timestep(t).to(t.dtype)


def _t(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    return 1000 * t


def _log_sigma(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    return -50 * schedule.log_snr(t)


def _none(schedule: NoiseSchedule, t: Tensor) -> None:
    return None


TIME_INPUTS: dict[str, Callable[[NoiseSchedule, Tensor], Tensor | None]] = {
    "timestep": _timestep,
    "t": _t,
    "log_sigma": _log_sigma,
    "none": _none,
}
"""What a network is told of the time: the integer timestep, 1000 t, 100 log(sigma/alpha), nothing."""


class Denoiser(nn.Module):
    """Best guess of the image: x0_hat from x_t and t.

    Args:
        network: called as network(x (B, C, H, W), time (B,) or None, cond or None) -> (B, C, H, W).
        schedule: alpha(t) and sigma(t).
        prediction: what the network's output means.
        time_input: a key of `TIME_INPUTS`; None: what the schedule says.
        value_range: range of x0, to which samplers clip if told to.

    Raises:
        ValueError: a time_input that does not exist or does not fit the schedule, or a prediction that does not fit it.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: NoiseSchedule,
        prediction: Prediction,
        *,
        time_input: str | None = None,
        value_range: Sequence[float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.prediction = prediction
        self.time_input = schedule.time_input if time_input is None else time_input
        low, high = value_range
        self.value_range = (float(low), float(high))
        fitting = [name for name in TIME_INPUTS if name != "timestep" or isinstance(schedule, DiscreteSchedule)]
        if self.time_input not in fitting:
            why = " needs a schedule with timesteps" if self.time_input in TIME_INPUTS else " does not exist"
            raise ValueError(f"time_input={self.time_input}:{why}; choices: {', '.join(fitting)}")
        prediction.check(schedule)

    def forward(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        """x0_hat (B, C, H, W) from x_t (B, C, H, W), times t (B,) and a condition; computed in float32 at least."""
        output = self.raw(x_t, t, cond)
        exact = torch.promote_types(x_t.dtype, torch.float32)
        x = x_t.to(exact)
        return self.prediction.to_x0(output.to(exact), x, *self._scales(x, t)).to(x_t.dtype)

    def raw(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        """The network's own output (B, C, H, W), which the loss compares with `prediction.target`."""
        x = self.prediction.scale_input(x_t, *self._scales(x_t, t))
        return self.network(x, TIME_INPUTS[self.time_input](self.schedule, t), cond)

    def _scales(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return per_image(self.schedule.alpha(t), x), per_image(self.schedule.sigma(t), x)
