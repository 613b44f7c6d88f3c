"""Flow maps: each rule has the exact map as its solution, and is the equation of its paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from closed_forms import GaussianFlowMap
from lightdiff.core import (
    MSE,
    ConsistencyObjective,
    Denoiser,
    DiffusionObjective,
    DiscreteRule,
    DiscreteSchedule,
    EDMPrediction,
    EpsilonPrediction,
    FlowMapObjective,
    FlowPrediction,
    FlowSchedule,
    JumpDraw,
    JumpRule,
    Jumps,
    MeanFlowRule,
    NoiseSchedule,
    Prediction,
    ShortcutRule,
    VPrediction,
    X0Prediction,
    keyed_generator,
)
from lightdiff.core.forward_mode import rates
from lightdiff.core.jumps import jump
from lightdiff.networks import DiT, ResUNet
from lightdiff.samplers import DDIM
from oracles import DISCRETE, SCHEDULES, gaussian_data, gaussian_flow_map, noise, rms, times

RULES = {"discrete": DiscreteRule((0.875,)), "shortcut": ShortcutRule(), "mean_flow": MeanFlowRule()}
PREDICTIONS = {
    "epsilon": EpsilonPrediction(),
    "x0": X0Prediction(),
    "v": VPrediction(),
    "flow": FlowPrediction(),
    "edm": EDMPrediction(),
}
T, S = times(0.95, 0.5, 0.31, 0.7, 0.9), times(0.2, 0.5, 0.0, 0.69, 0.899)
"""Long and short jumps, one to the image, and one of no length."""


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


# -- derivatives ------------------------------------------------------------------------------------------------------

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resunet": lambda: ResUNet(1, 8, (8, 16), attention_levels=(0, 1), num_heads=2, group_channels=2, takes_s=True),
    "dit": lambda: DiT(1, 8, width=16, depth=2, num_heads=2, takes_s=True),
}
BETWEEN = times(0.9503, 0.5004, 0.3107, 0.7002, 0.90041)
"""Times that lie between the timesteps of discrete schedules, where alphas_cumprod has a derivative."""


def random_denoiser(network: str, schedule: str, prediction: str, time_input: str | None = None) -> Denoiser:
    torch.manual_seed(0)
    built = NETWORKS[network]().double()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.2)
    usual = {"timestep": "t"}.get(SCHEDULES[schedule].time_input, SCHEDULES[schedule].time_input)
    return Denoiser(built, SCHEDULES[schedule], PREDICTIONS[prediction], time_input=time_input or usual)


def random_jumps(denoiser: Denoiser) -> Jumps:
    x_t, D = torch.randn(2, 5, 1, 8, 8, generator=keyed_generator("cpu", "images"), dtype=torch.float64)
    return Jumps(denoiser, x_t, BETWEEN, S, D)


def derivative_by_differences(jumps: Jumps, h: float = 1e-6) -> Tensor:
    """Return dX/dtau (B, ...) along the line from the direction through x_t, by central differences of order 4."""
    schedule, total = jumps.denoiser.schedule, torch.zeros_like(jumps.x_t)
    at_t = schedule.exact(jumps.t)
    for steps, weight in ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12)):
        r = schedule.t_from_flow_time(at_t.flow_time + steps * h)
        x_r = jump(jumps.x_t, jumps.direction, at_t, schedule.exact(r))
        total += weight / h * jumps.denoiser(x_r, r, None, jumps.s)
    return total


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


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_losses_are_finite_at_the_ends_of_time(schedule: str, rule: str) -> None:
    denoiser = random_denoiser("dit", schedule, "v", "log_sigma")
    t = SCHEDULES[schedule].snap(times(1e-6, 1e-3, 1 - 1e-9, 1.0, 1.0))
    draw = JumpDraw(t, torch.randn(5, 1, 8, 8, dtype=torch.float64), t * times(0.5, 0.0, 1.0, 0.0, 0.5))
    losses = FlowMapObjective(RULES[rule]).losses(denoiser, denoiser, torch.zeros_like(draw.noise), draw, progress=1.0)
    losses.mean().backward()
    assert losses.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in denoiser.network.parameters())


# -- against the other objectives -------------------------------------------------------------------------------------


class Ignoring(nn.Module):
    """A network with dropout that takes s and ignores it."""

    takes_s = True

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Dropout(0.3), nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        return self.layers(x + (time / 1000).sin().reshape(-1, 1, 1, 1).to(x.dtype))


@pytest.mark.parametrize("schedule", ["flow", "edm", "linear"])
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_with_s_at_0_the_discrete_rule_is_consistency_training(schedule: str, progress: float) -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(Ignoring(), SCHEDULES[schedule], VPrediction())
    x0 = torch.randn(6, 1, 4, 4)
    losses = []
    ratios = (0.0, 0.5, 0.75)
    for objective in (FlowMapObjective(DiscreteRule(ratios), share_at_t=0, share_at_0=1), ConsistencyObjective(ratios)):
        draw = objective.draw(x0.shape, denoiser.schedule, keyed_generator("cpu", 3))
        torch.manual_seed(1)
        losses.append(objective.losses(denoiser, denoiser, x0, draw, progress=progress))
    assert torch.equal(*losses)
    assert losses[0].min() > 1e-4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", ["flow", "edm", "cosine"])
def test_with_s_at_t_the_loss_is_the_ordinary_one(schedule: str, rule: str) -> None:
    denoiser = random_denoiser("dit", schedule, "v")
    x0 = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    flow_map, ordinary = FlowMapObjective(RULES[rule], share_at_t=1, share_at_0=0, distance=MSE()), DiffusionObjective()
    losses = []
    for objective in (flow_map, ordinary):
        draw = objective.draw(x0.shape, denoiser.schedule, keyed_generator("cpu", 3), x0.dtype)
        losses.append(objective.losses(denoiser, denoiser, x0, draw, progress=1.0))
    torch.testing.assert_close(*losses, rtol=1e-8, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_times_that_are_drawn(schedule: str) -> None:
    noise_schedule, shape = SCHEDULES[schedule], (20_000, 1, 1, 1)
    draw = FlowMapObjective(share_at_t=0.2, share_at_0=0.3).draw(shape, noise_schedule, keyed_generator("cpu", 0))
    ordinary = DiffusionObjective().draw(shape, noise_schedule, keyed_generator("cpu", 0))
    assert torch.equal(draw.t, ordinary.t) and torch.equal(draw.noise, ordinary.noise)
    assert draw.s.dtype == draw.t.dtype and ((draw.s >= 0) & (draw.s <= draw.t)).all()
    at_t, at_0 = draw.s == draw.t, draw.s == 0
    assert at_t.float().mean() == pytest.approx(0.2, abs=0.01) and at_0.float().mean() == pytest.approx(0.3, abs=0.01)
    between = ~(at_t | at_0)
    part = noise_schedule.exact(draw.s).flow_time / noise_schedule.exact(draw.t).flow_time
    uniform = torch.linspace(0, 1, int(between.sum()), dtype=torch.float64)
    assert (part[between].sort().values - uniform).abs().max() < 0.03
    if schedule in DISCRETE:
        steps = noise_schedule.num_train_timesteps * draw.s[between]  # type: ignore[attr-defined]
        assert ((steps - steps.round()).abs() > 1e-3).float().mean() > 0.9, "s is not rounded to timesteps"
    rows = draw.rows(slice(1, None, 2))
    assert isinstance(rows, JumpDraw) and torch.equal(rows.s, draw.s[1::2])


# -- while training ---------------------------------------------------------------------------------------------------


def losses_of(rule: str, denoiser: Denoiser, rows: slice = slice(None)) -> Tensor:
    """Return the losses of some of 5 images, with the same random numbers in every call."""
    x0 = torch.randn(5, 1, 8, 8, generator=keyed_generator("cpu", "x0")).to(next(denoiser.parameters()).dtype)
    objective = FlowMapObjective(RULES[rule])
    draw = objective.draw(x0.shape, denoiser.schedule, keyed_generator("cpu", "draw"), x0.dtype)
    torch.manual_seed(1)
    return objective.losses(denoiser, denoiser, x0[rows], draw.rows(rows), progress=1.0)


def gradients(losses: Tensor, denoiser: Denoiser) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(losses.mean(), list(denoiser.parameters()))])


@pytest.mark.parametrize("rule", RULES)
def test_the_rows_of_a_process_have_the_losses_and_gradients_of_the_whole(rule: str) -> None:
    denoiser = random_denoiser("resunet", "flow", "v")
    whole = losses_of(rule, denoiser)
    parts = [losses_of(rule, denoiser, slice(rank, 4, 2)) for rank in (0, 1)]
    for rank in (0, 1):
        torch.testing.assert_close(parts[rank], whole[rank:4:2], rtol=1e-9, atol=1e-12)
    together = sum(gradients(part, denoiser) for part in parts) / 2  # type: ignore[operator]
    torch.testing.assert_close(together, gradients(whole[:4], denoiser), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_losses_are_the_same_without_gradient_and_in_inference_mode(network: str, rule: str) -> None:
    """Validation of Lightning runs in inference mode, where torch takes no derivatives of its own accord."""
    denoiser = random_denoiser(network, "flow", "v")
    expected = losses_of(rule, denoiser)
    assert expected.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(losses_of(rule, denoiser), expected.detach(), rtol=1e-10, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(losses_of(rule, denoiser), expected.detach(), rtol=1e-10, atol=0)
    assert torch.equal(losses_of(rule, denoiser), expected)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_of_the_target_has_a_gradient(rule: str) -> None:
    """The gradient is that of the same loss with the target as a constant."""
    denoiser = random_denoiser("dit", "flow", "v")
    jumps, objective = random_jumps(denoiser), FlowMapObjective(RULES[rule])
    at_t = denoiser.schedule.exact(jumps.t)
    x0_hat, target = RULES[rule](jumps, 1.0)
    losses = objective.compared(denoiser, x0_hat, target, at_t, torch.float64)
    constant = objective.compared(denoiser, jumps.x0_hat(), target.detach().clone(), at_t, torch.float64)
    torch.testing.assert_close(gradients(losses, denoiser), gradients(constant, denoiser), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_dropout_is_the_same_in_the_target(rule: str) -> None:
    """A dropout that differed would show in the loss of jumps of almost no length, whose target is nearly x0_hat."""
    torch.manual_seed(0)
    denoiser = Denoiser(Ignoring().double(), SCHEDULES["flow"], X0Prediction())
    x_t = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    jumps = Jumps(denoiser, x_t, T, 0.99999 * T, x_t)
    torch.manual_seed(1)
    expected = jumps.x0_hat()
    torch.manual_seed(1)
    x0_hat, target = RULES[rule](replace(jumps, direction=expected.detach()), 1.0)
    assert torch.equal(x0_hat, expected)
    torch.testing.assert_close(target, expected, rtol=0, atol=1e-3)
    torch.manual_seed(2)
    assert (jumps.x0_hat() - expected).abs().amax((1, 2, 3)).min() > 0.02


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


@pytest.mark.parametrize("rule", RULES)
def test_mixed_precision_changes_the_losses_little(rule: str) -> None:
    """Under autocast mean_flow computes its derivative in 32 bits, also with a condition in 16 bits."""
    torch.manual_seed(0)
    network = ResUNet(1, 8, (16, 32), attention_levels=(1,), num_heads=2, cond_dim=4, token_dim=4, takes_s=True)
    denoiser = Denoiser(network, SCHEDULES["flow"], VPrediction())
    x_t, D = torch.randn(2, 5, 1, 8, 8)
    cond = {"vector": torch.randn(5, 4), "tokens": torch.randn(5, 3, 4), "mask": torch.ones(5, 3, dtype=torch.bool)}
    jumps = Jumps(denoiser, x_t, BETWEEN.float(), S.float(), D, cond)
    x0_hat, target = RULES[rule](jumps, 1.0)
    half = {key: value.bfloat16() if value.is_floating_point() else value for key, value in cond.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = RULES[rule](replace(jumps, cond=half), 1.0)
        torch.testing.assert_close(found, (x0_hat, target), rtol=0.05, atol=0.05)
        (found[0] - found[1]).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_mean_flow_ignores_that_the_network_is_compiled() -> None:
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


class Small(nn.Module):
    """A multilayer perceptron of one pixel and both times."""

    takes_s = True

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor, time: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        t, s, pixel = time[:, None] / 1000, (time if s is None else s)[:, None] / 1000, x.flatten(1)
        return self.layers(torch.cat([pixel, t, s, pixel * t, pixel * s], 1)).reshape(x.shape)


ORDINARY_ERROR = 0.39
"""Error of one step with the best denoiser, E[x0 | x_t], for the data of `trained_errors`."""


def trained_errors(rule: JumpRule, steps: int) -> list[float]:
    """Train a network on single pixels, N(0.3, 0.4^2); return the errors of DDIM with 1, 2 and 4 steps against the exact flow."""
    torch.manual_seed(0)
    schedule, generator = FlowSchedule(), keyed_generator("cpu", "pixels")
    denoiser = Denoiser(Small(), schedule, FlowPrediction())
    data = GaussianFlowMap(schedule, torch.full((1, 1, 1, 1), 0.3), torch.full((1, 1, 1, 1), 0.4))
    objective = FlowMapObjective(rule, distance=MSE())
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.01)
    lr_scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        x0 = data.mean + data.std * torch.randn(256, 1, 1, 1, generator=generator)
        draw = objective.draw(x0.shape, schedule, generator)
        optimizer.zero_grad()
        objective.losses(denoiser, denoiser, x0, draw, progress=step / steps).mean().backward()
        optimizer.step()
        lr_scheduler.step()
    x_T = torch.randn(1000, 1, 1, 1, generator=keyed_generator("cpu", "x_T"))
    with torch.no_grad():
        return [rms(DDIM().sample(denoiser, x_T, n) - data.flow(x_T, 1.0, 0.0)) for n in (1, 2, 4)]


TRAINED = {"discrete": DiscreteRule((0.0, 0.5, 0.75, 0.875)), "shortcut": ShortcutRule(), "mean_flow": MeanFlowRule()}


@pytest.mark.parametrize("rule", TRAINED)
def test_training_goes_towards_the_exact_map(rule: str) -> None:
    """The data alone teach it: the direction is the image, as in ordinary training."""
    steps = {"discrete": 150, "shortcut": 100, "mean_flow": 60}[rule]
    untrained, trained = trained_errors(TRAINED[rule], 0), trained_errors(TRAINED[rule], steps)
    assert min(untrained) > ORDINARY_ERROR
    assert all(after < before / 3 for before, after in zip(untrained, trained, strict=True))
    assert trained[0] < 0.6 * ORDINARY_ERROR


@pytest.mark.slow
@pytest.mark.parametrize("rule", TRAINED)
def test_longer_training_comes_close_to_the_exact_map(rule: str) -> None:
    """Errors found: 0.065, 0.056, 0.023 by discrete, 0.042, 0.025, 0.013 by shortcut, 0.010, 0.010, 0.008 by mean_flow."""
    one, two, four = trained_errors(TRAINED[rule], 1500)
    assert one < 0.1 and two < 0.08 and four < 0.04


# -- what is refused --------------------------------------------------------------------------------------------------


class NoInverse(FlowSchedule):
    _time_of = NoiseSchedule._time_of


@pytest.mark.parametrize(
    ("objective", "denoiser", "message"),
    [
        (
            FlowMapObjective(),
            Denoiser(nn.Identity(), FlowSchedule(), VPrediction()),
            r"model\.takes_s=false: .* Identity .* choices: model\.takes_s=true with model=unet, resunet or dit",
        ),
        (
            FlowMapObjective(MeanFlowRule()),
            Denoiser(Ignoring(), SCHEDULES["cosine"], VPrediction()),
            r"time_input=timestep: objective\.rule=mean_flow .*; choices: t, log_sigma",
        ),
        (
            FlowMapObjective(),
            Denoiser(Ignoring(), NoInverse(), VPrediction()),
            r"schedule=NoInverse: objective=flow_map needs a schedule with an inverse \(t_from_log_snr\)",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    objective: FlowMapObjective, denoiser: Denoiser, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        objective.check_training(denoiser)
    # what is trained already can still be built
    objective.check(denoiser.prediction, denoiser.schedule)


@pytest.mark.parametrize("rule", ["discrete", "shortcut"])
def test_rules_without_a_derivative_take_timesteps(rule: str) -> None:
    assert isinstance(SCHEDULES["linear"], DiscreteSchedule)
    FlowMapObjective(RULES[rule]).check_training(Denoiser(Ignoring(), SCHEDULES["linear"], VPrediction()))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FlowMapObjective(share_at_t=-0.1), r"share_at_t=-0\.1: a number from 0 to 1 is expected"),
        (
            lambda: FlowMapObjective(ShortcutRule(), share_at_t=0),
            "share_at_t=0: ShortcutRule learns .* above 0 is expected",
        ),
        (lambda: FlowMapObjective(share_at_t=0.75, share_at_0=0.5), r"share_at_0=0\.5: .* 1 - share_at_t = 0\.25 is"),
        (lambda: DiscreteRule(()), r"ratios=\[\]: numbers from 0 to below 1 that rise are expected"),
        (lambda: DiscreteRule((0.5, 0.25)), r"ratios=\[0\.5, 0\.25\]: numbers"),
        (lambda: DiscreteRule((0.5, 1.0)), r"ratios=\[0\.5, 1\.0\]: numbers"),
    ],
)
def test_impossible_settings_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
