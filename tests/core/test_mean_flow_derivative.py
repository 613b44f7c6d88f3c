"""The derivative of mean_flow is the limit of differences, and its target is the equation of its paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from flow_map_parts import (
    BETWEEN,
    NETWORKS,
    PREDICTIONS,
    Ignoring,
    S,
    derivative_by_differences,
    gradients,
    losses_of,
    random_denoiser,
    random_jumps,
)
from lightdiff.core import Denoiser, DiscreteRule, Jumps, MeanFlowRule, VPrediction, keyed_generator
from lightdiff.core.forward_mode import rates
from oracles import SCHEDULES, rms, times


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("schedule", "prediction", "time_input"),
    [
        *(("cosine", prediction, "t") for prediction in PREDICTIONS),
        *(("edm", prediction, "log_sigma") for prediction in PREDICTIONS),
        ("flow", "flow", "t"),
        ("linear_zero_snr", "v", "log_sigma"),
    ],
)
def test_the_derivative_of_mean_flow_is_the_limit_of_differences(
    schedule: str, prediction: str, time_input: str, network: str
) -> None:
    jumps = random_jumps(random_denoiser(network, schedule, prediction, time_input))
    with torch.no_grad():
        X, target = MeanFlowRule()(jumps, 0.5)
        derivative = derivative_by_differences(jumps)
        torch.testing.assert_close(X, jumps.x0_hat(), rtol=1e-9, atol=1e-9)
    taus = [SCHEDULES[schedule].exact(time).flow_time.reshape(-1, 1, 1, 1) for time in (BETWEEN, S)]
    share = taus[1] / taus[0]
    expected = share * jumps.direction + (1 - share) * X - (taus[0] - taus[1]) * derivative
    assert (derivative.abs().amax((1, 2, 3)) > 1).all()
    error = (target - expected).abs().amax((1, 2, 3)) / derivative.abs().amax((1, 2, 3))
    assert error.max() < 1e-6


def test_mean_flow_is_equation_6_of_its_paper() -> None:
    """u_target = v - (t - r) (v du/dz + du/dt), for the mean velocity u(z, r, t) and the velocity v = noise - x0."""
    denoiser = random_denoiser("dit", "flow", "flow")
    x0, eps = torch.randn(2, 5, 1, 8, 8, generator=keyed_generator("cpu", "pair"), dtype=torch.float64)
    t, r = BETWEEN.reshape(-1, 1, 1, 1), S.reshape(-1, 1, 1, 1)
    z, v = (1 - t) * x0 + t * eps, eps - x0

    def u(z: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return denoiser.network(z, 1000 * t.flatten(), None, s=1000 * r.flatten())

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        mean_velocity, dudt = torch.func.jvp(u, (z, r, t), (v, torch.zeros_like(r), torch.ones_like(t)))
    u_target = v - (t - r) * dudt
    x0_hat, target = MeanFlowRule()(Jumps(denoiser, z, BETWEEN, S, x0), 0.0)
    torch.testing.assert_close((z - x0_hat) / t, mean_velocity, rtol=0, atol=1e-9)
    torch.testing.assert_close((z - target) / t, u_target, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", ["flow", "edm", "cosine"])
def test_the_discrete_rule_approaches_mean_flow(schedule: str) -> None:
    """(target of discrete - X) / (1 - ratio) goes to (target of mean_flow - X) as the ratio goes to 1."""
    jumps = random_jumps(random_denoiser("dit", schedule, "v"))
    with torch.no_grad():
        X, limit = MeanFlowRule()(jumps, 1.0)
        rest = (1e-3, 1e-4, 1e-5)
        steps = [(DiscreteRule((1 - each,))(jumps, 1.0)[1] - X) / each for each in rest]
    errors = [rms(step - (limit - X)) / rms(limit - X) for step in steps]
    assert errors[0] > 3 * errors[1] > 15 * errors[2] and errors[2] < 0.05


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_of_a_schedule_are_its_derivatives_by_the_flow_time(name: str) -> None:
    schedule, h = SCHEDULES[name], 1e-6
    dt, dscales = rates(schedule, BETWEEN)
    tau = schedule.exact(BETWEEN).flow_time
    times_around = [schedule.t_from_flow_time(tau + step) for step in (h, -h)]
    after, before = (schedule.exact(time) for time in times_around)
    found = torch.stack([dt, dscales.alpha, dscales.sigma])
    differences = torch.stack(
        [times_around[0] - times_around[1], after.alpha - before.alpha, after.sigma - before.sigma]
    )
    torch.testing.assert_close(found, differences / (2 * h), rtol=1e-5, atol=1e-6)
    # they are finite at every time of training, the last one included
    ends = schedule.snap(times(1e-6, 1.0))
    dt, dscales = rates(schedule, ends)
    assert dt.isfinite().all() and dscales.alpha.isfinite().all() and dscales.sigma.isfinite().all()
    at_end = schedule.exact(ends)
    tau_rate = (at_end.alpha * dscales.sigma - at_end.sigma * dscales.alpha) / (at_end.alpha + at_end.sigma) ** 2
    torch.testing.assert_close(tau_rate, torch.ones_like(tau_rate), rtol=0, atol=1e-9)


def test_the_derivative_of_mean_flow_knows_the_dropout() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(Ignoring().double(), SCHEDULES["flow"], VPrediction())
    jumps = random_jumps(denoiser)

    def seeded(*arguments: Any, **others: Any) -> Tensor:
        torch.manual_seed(1)
        return Denoiser.forward(denoiser, *arguments, **others)

    denoiser.forward = seeded  # type: ignore[method-assign]
    X, target = MeanFlowRule()(jumps, 1.0)
    t, s = BETWEEN.reshape(-1, 1, 1, 1), S.reshape(-1, 1, 1, 1)
    expected = s / t * jumps.direction + (1 - s / t) * X - (t - s) * derivative_by_differences(jumps)
    torch.testing.assert_close(target, expected, rtol=0, atol=1e-7)


def test_mean_flow_ignores_that_the_network_is_compiled() -> None:
    # what earlier tests compiled, or failed to compile, would be used again or not tried again
    torch.compiler.reset()
    denoiser = random_denoiser("resunet", "flow", "v")
    expected = losses_of("mean_flow", denoiser)
    expected_gradients = gradients(expected, denoiser)
    seen: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        seen.append(graph)
        return graph.forward

    denoiser.network.compile(backend=backend)
    losses_of("shortcut", denoiser)
    compiled = len(seen)
    assert compiled > 0
    losses = losses_of("mean_flow", denoiser)
    assert torch.equal(losses, expected)
    assert torch.equal(gradients(losses, denoiser), expected_gradients)
    assert len(seen) == compiled
