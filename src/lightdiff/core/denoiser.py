"""The denoiser, which owns network, conditioner, schedule and prediction, and is one function x0_hat(x_t, t, cond, s)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lightdiff.core.discrete import DiscreteSchedule
from lightdiff.core.prediction import Prediction
from lightdiff.core.scales import Scales
from lightdiff.core.schedule import NoiseSchedule

Condition = dict[str, Tensor]
"""What the images are conditioned on: a dict with any of `vector` (B, D), `tokens` (B, L, D) and `mask` (B, L)."""


def _timestep(schedule: NoiseSchedule, t: Tensor, scales: Scales) -> Tensor:
    assert isinstance(schedule, DiscreteSchedule)
    return schedule.timestep(t).to(t.dtype)


def _scaled_time(schedule: NoiseSchedule, t: Tensor, scales: Scales) -> Tensor:
    return 1000 * t


def _log_sigma(schedule: NoiseSchedule, t: Tensor, scales: Scales) -> Tensor:
    return -50 * scales.log_snr.to(t.dtype)


def _no_time(schedule: NoiseSchedule, t: Tensor, scales: Scales) -> None:
    return None


TIME_INPUTS: dict[str, Callable[[NoiseSchedule, Tensor, Scales], Tensor | None]] = {
    "timestep": _timestep,
    "t": _scaled_time,
    "log_sigma": _log_sigma,
    "none": _no_time,
}
"""Functions (schedule, t, scales at t) -> the time input of the network, by the name that `time_input` gives them.

- timestep: the integer timestep 0..T - 1 of a discrete schedule.
- t: 1000 t.
- log_sigma: 100 log(sigma / alpha).
- none: no time input.
"""


def second_time(taker: object, s: Tensor | None) -> dict[str, Tensor]:
    """Return the keyword argument s for a network or denoiser with takes_s = True, and no argument for any other.

    Args:
        taker: the network or denoiser that will be called.
        s: times (B,) where the jumps end. None: no argument is returned.
    """
    return {"s": s} if s is not None and getattr(taker, "takes_s", False) else {}


class Denoiser(nn.Module):
    """An estimator of the image: x0_hat from x_t and t, and from a second time s if the network takes it.

        x0_hat = prediction.to_x0(network(prediction.scale_input(x_t), time_input(t), cond), x_t)

    It is the module that is trained, averaged and described in a checkpoint.

    A network with the attribute takes_s = True is called with a keyword more, s = time_input(s). Its x0_hat is that of the jump
    from t to s: the image for which the step of DDIM with eta = 0 from t lands where the probability flow is at s. It is a
    weighted mean of the ordinary estimates on the way, so it has their range of values. At s = t it is the ordinary estimate.

    Args:
        network: module called as network(x (B, C, H, W), time (B,) or None, cond or None) -> (B, C, H, W).
        schedule: noise schedule, which gives alpha(t) and sigma(t).
        prediction: meaning of the network's output.
        conditioner: module that turns labels or captions into `cond` (see `lightdiff.conditioning`). None: there is no condition.
        time_input: form in which the network gets the time, a key of `TIME_INPUTS`. None takes the schedule's own.
        value_range: (lowest, highest) value of x0, to which a sampler with clip_denoised=True clips x0_hat.
            None: x0 has no bounds.

    Raises:
        ValueError: time_input does not exist, time_input or prediction does not fit the schedule, the network takes s but no
            time_input, or it does not take what the conditioner gives.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: NoiseSchedule,
        prediction: Prediction,
        conditioner: nn.Module | None = None,
        *,
        time_input: str | None = None,
        value_range: Sequence[float] | None = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.prediction = prediction
        self.conditioner = conditioner
        self.time_input = schedule.time_input if time_input is None else time_input
        self.value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        fitting = [name for name in TIME_INPUTS if name != "timestep" or isinstance(schedule, DiscreteSchedule)]
        if self.time_input not in fitting:
            why = " needs a schedule with timesteps" if self.time_input in TIME_INPUTS else " does not exist"
            raise ValueError(f"time_input={self.time_input}:{why}; choices: {', '.join(fitting)}")
        if self.takes_s and self.time_input == "none":
            times = ", ".join(name for name in fitting if name != "none")
            raise ValueError(
                f"time_input=none: {type(network).__name__} with takes_s=True needs the times; choices: {times}"
            )
        prediction.check(schedule)
        taken = getattr(network, "cond_keys", None)
        given: tuple[str, ...] = getattr(conditioner, "cond_keys", ())
        if taken is not None and not set(given) <= set(taken):
            raise ValueError(
                f"conditioning={type(conditioner).__name__}: it gives {', '.join(given)}, but {type(network).__name__} takes "
                f"{', '.join(taken) or 'no condition (as it is configured)'}"
            )

    @property
    def takes_s(self) -> bool:
        """Whether the network takes the second time s."""
        return bool(getattr(self.network, "takes_s", False))

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        cond: Condition | None = None,
        s: Tensor | None = None,
        *,
        scales: Scales | None = None,
    ) -> Tensor:
        """Return x0_hat (B, C, H, W), in the dtype of x_t. The formulas around the network are computed in at least float32.

        Args:
            x_t: noisy images (B, C, H, W).
            t: times (B,) in [0, 1].
            cond: condition of the B images, or None.
            s: times (B,) in [0, t] where the jumps end. None, or s = t: the ordinary estimate. A network without takes_s never
                gets it.
            scales: what `schedule.exact(t)` returned, where it is known.
        """
        if scales is None:
            scales = self.schedule.exact(t)
        output = self.raw(x_t, t, cond, s, scales=scales)
        exact = torch.promote_types(x_t.dtype, torch.float32)
        x = x_t.to(exact)
        return self.prediction.to_x0(output.to(exact), x, scales.per_image(x)).to(x_t.dtype)

    def raw(
        self,
        x_t: Tensor,
        t: Tensor,
        cond: Condition | None = None,
        s: Tensor | None = None,
        *,
        scales: Scales | None = None,
    ) -> Tensor:
        """Return the network's output (B, C, H, W), which the loss compares with `prediction.target`.

        Args:
            x_t, t, cond, s, scales: as in `forward`.
        """
        if scales is None:
            scales = self.schedule.exact(t)
        x = self.prediction.scale_input(x_t, scales.per_image(x_t))
        time_input = TIME_INPUTS[self.time_input]
        time = time_input(self.schedule, t, scales)
        if not self.takes_s:
            return self.network(x, time, cond)
        end = time if s is None else time_input(self.schedule, s, self.schedule.exact(s))
        return self.network(x, time, cond, s=end)
