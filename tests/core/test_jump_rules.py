"""The rules for jumps have the exact flow map of Gaussian data as their solution, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flow_map_parts import PREDICTIONS, RULES, S, T
from lightdiff.core import (
    MSE,
    Denoiser,
    DiscreteRule,
    EDMPrediction,
    FlowMapObjective,
    JumpDraw,
    JumpRule,
    Jumps,
    NoiseSchedule,
    Prediction,
    X0Prediction,
)
from oracles import SCHEDULES, gaussian_data, gaussian_flow_map, noise, rms


class Exact(nn.Module):
    """A network whose output is the exact flow map of Gaussian data, changed by `change(x0_hat, t, s)`."""

    takes_s = True

    def __init__(
        self,
        schedule: NoiseSchedule,
        prediction: Prediction,
        change: Callable[..., Tensor] = lambda x0_hat, t, s: x0_hat,
    ) -> None:
        super().__init__()
        self.flow_map, self.prediction, self.change = gaussian_flow_map(schedule), prediction, change

    def forward(self, x: Tensor, time: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        t, s = time / 1000, time / 1000 if s is None else s / 1000
        at_t = self.flow_map.schedule.exact(t).per_image(x)
        if isinstance(self.prediction, EDMPrediction):
            x = x * ((at_t.alpha * self.prediction.sigma_data) ** 2 + at_t.sigma**2).sqrt()
        x0_hat = self.change(self.flow_map(x, t, None, s), t, s)
        return self.prediction.target(x0_hat, (x - at_t.alpha * x0_hat) / at_t.sigma, at_t)


def exact(schedule: str, prediction: Prediction = PREDICTIONS["x0"], **change: Any) -> Denoiser:
    """Return the denoiser of the exact flow map, or of a changed one."""
    return Denoiser(Exact(SCHEDULES[schedule], prediction, **change), SCHEDULES[schedule], prediction, time_input="t")


def jumps_of(denoiser: Denoiser, rule: JumpRule, t: Tensor = T, s: Tensor = S, x_t: Tensor | None = None) -> Jumps:
    """Return jumps from x_t of Gaussian images, with the direction for which the small step of the rule is exact."""
    schedule = denoiser.schedule
    data, at_t = gaussian_flow_map(schedule), schedule.exact(t)
    if x_t is None:
        x_t = at_t.mix(data.mean + data.std * noise(len(t), 5), noise(len(t)))
    r = t
    if isinstance(rule, DiscreteRule):
        tau_t, tau_s = at_t.flow_time, schedule.exact(s).flow_time
        r = schedule.t_from_flow_time(tau_s + rule.ratios[-1] * (tau_t - tau_s))
    return Jumps(denoiser, x_t, t, s, data(x_t, t, None, r))


PAIRS = [
    (schedule, prediction)
    for schedule in SCHEDULES
    for prediction in PREDICTIONS
    # with epsilon nothing is known of x0 where alpha = 0
    if prediction != "epsilon" or schedule not in ("flow", "linear_zero_snr")
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("schedule", "prediction"), PAIRS)
def test_the_target_of_the_exact_map_is_the_exact_map(schedule: str, rule: str, prediction: str) -> None:
    jumps = jumps_of(exact(schedule, PREDICTIONS[prediction]), RULES[rule])
    x0_hat, target = RULES[rule](jumps, 1.0)
    expected = gaussian_flow_map(SCHEDULES[schedule])(jumps.x_t, T, None, S)
    torch.testing.assert_close(x0_hat, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(target, expected, rtol=0, atol=1e-10)
    # the jumps are far from the ordinary estimate
    assert rms(expected[0] - jumps.x_t[0]) > 0.1


class WithDirection(FlowMapObjective):
    """The objective of a rule, with the direction in which its small steps are exact."""

    def direction(self, x0: Tensor, x_t: Tensor, draw: JumpDraw, at_t: Any) -> Tensor:  # type: ignore[override]
        return jumps_of(exact(self.schedule), self.rule, draw.t, draw.s, x_t).direction

    def loss_of(self, schedule: str, **change: Any) -> Tensor:
        """Return the mean loss of the exact map, or of a changed one."""
        self.schedule, denoiser = schedule, exact(schedule, **change)
        draw = JumpDraw(T, noise(len(T)), S)
        return self.losses(denoiser, denoiser, noise(len(T), 5), draw, progress=1.0).mean()


CHANGES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "scaled": lambda x0_hat, t, s: 1.05 * x0_hat,
    "shifted": lambda x0_hat, t, s: x0_hat + 0.05,
    "wrong in s": lambda x0_hat, t, s: x0_hat + 0.1 * (t - s).reshape(-1, 1, 1, 1),
    "wrong at long jumps": lambda x0_hat, t, s: x0_hat + 0.1 * ((t - s) ** 3).reshape(-1, 1, 1, 1),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_loss_has_its_minimum_at_the_exact_map(schedule: str, rule: str) -> None:
    objective = WithDirection(RULES[rule], distance=MSE())
    for name, change in CHANGES.items():
        amount = torch.zeros((), dtype=torch.float64, requires_grad=True)

        def partly(x0_hat: Tensor, t: Tensor, s: Tensor) -> Tensor:
            return x0_hat + amount * (change(x0_hat, t, s) - x0_hat)  # noqa: B023

        least = objective.loss_of(schedule, change=partly)
        assert least < 1e-16, name
        (gradient,) = torch.autograd.grad(least, amount)
        assert abs(gradient) < 1e-8, name
        assert objective.loss_of(schedule, change=change) > 1e-5, name


@pytest.mark.parametrize("rule", RULES)
def test_the_ordinary_estimate_is_no_solution_for_long_jumps(rule: str) -> None:
    class Ordinary(Exact):
        def forward(self, x: Tensor, time: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
            return super().forward(x, time)

    schedule = SCHEDULES["flow"]
    jumps = jumps_of(Denoiser(Ordinary(schedule, X0Prediction()), schedule, X0Prediction()), RULES[rule])
    x0_hat, target = RULES[rule](jumps, 1.0)
    error = (target - x0_hat).abs().amax((1, 2, 3))
    assert error[1] < 1e-12, "the jump of no length"
    assert (error[[0, 2]] > 1e-3).all(), "the long jumps"


def test_small_steps_along_the_ordinary_estimate_approach_the_exact_map() -> None:
    """The discrete rule with the best denoiser as the direction errs by a step of Euler's method, which is of order 2."""
    errors = []
    for ratio in (0.9, 0.99, 0.999):
        jumps = jumps_of(exact("flow"), DiscreteRule((ratio,)))
        ordinary = gaussian_data(SCHEDULES["flow"])(jumps.x_t, T)
        x0_hat, target = DiscreteRule((ratio,))(replace(jumps, direction=ordinary), 1.0)
        errors.append(rms(target - x0_hat))
    assert errors[0] / errors[1] > 80 and errors[1] / errors[2] > 80
