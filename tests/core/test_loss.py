"""The loss: distances, time samplers, noise, and the agreement of denoiser and objective."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lightdiff.core import (
    L1,
    MSE,
    Denoiser,
    DiffusionObjective,
    DiscreteUniformTime,
    EpsilonPrediction,
    GaussianNoise,
    Huber,
    LogitNormalTime,
    LogNormalSigmaTime,
    NoiseSchedule,
    StratifiedTime,
    UniformNoise,
    UniformTime,
    VPrediction,
    X0Prediction,
    keyed_generator,
)
from oracles import SCHEDULES

COUNT = 100_000


class Constant(nn.Module):
    """A network that returns one constant and records its inputs."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, time: Tensor | None, cond: object = None) -> Tensor:
        self.x, self.time = x, time
        return torch.full_like(x, self.value)


def test_distances_have_their_formulas() -> None:
    output, target = torch.tensor([[0.5, -2.0], [0.0, 0.1]]), torch.zeros(2, 2)
    torch.testing.assert_close(MSE()(output, target), torch.tensor([(0.25 + 4) / 2, 0.005]))
    torch.testing.assert_close(L1()(output, target), torch.tensor([1.25, 0.05]))
    torch.testing.assert_close(Huber(1.0)(output, target), torch.tensor([(0.125 + 1.5) / 2, 0.0025]))
    assert MSE()(output.bfloat16(), target.bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"delta=0\.0"):
        Huber(0.0)


def draw(sampler: object, schedule: NoiseSchedule, count: int = COUNT) -> Tensor:
    t = sampler(count, schedule, generator=keyed_generator("cpu", "times", 0))  # type: ignore[operator]
    assert t.dtype == torch.float32
    assert t.shape == (count,)
    assert t.min() >= 0
    assert t.max() <= 1
    return t


@pytest.mark.parametrize(
    "sampler", [UniformTime(), DiscreteUniformTime(), StratifiedTime()], ids=lambda s: type(s).__name__
)
def test_every_timestep_is_trained_equally_often_the_first_and_the_last_too(sampler: object) -> None:
    schedule = SCHEDULES["linear"]
    steps = schedule.timestep(draw(sampler, schedule))  # type: ignore[attr-defined]
    counts = torch.bincount(steps, minlength=1000).double()
    assert len(counts) == 1000
    expected = COUNT / 1000
    assert counts.min() > expected - 5 * math.sqrt(expected)
    assert counts.max() < expected + 5 * math.sqrt(expected)


def test_stratified_times_have_one_in_each_part_in_random_order() -> None:
    t = draw(StratifiedTime(), SCHEDULES["flow"], 64)
    assert sorted((t * 64).long().tolist()) == list(range(64))
    assert (t.diff() < 0).any()


def test_log_normal_in_sigma() -> None:
    for name in ("edm", "cosine", "flow"):
        schedule = SCHEDULES[name]
        log_ratio = -schedule.log_snr(draw(LogNormalSigmaTime(-1.2, 0.6), schedule).double()) / 2
        assert log_ratio.mean().item() == pytest.approx(-1.2, abs=0.02)
        assert log_ratio.std().item() == pytest.approx(0.6, abs=0.02)


def test_logit_normal_in_t() -> None:
    logits = torch.logit(draw(LogitNormalTime(0.3, 0.7), SCHEDULES["flow"]).double())
    assert logits.mean().item() == pytest.approx(0.3, abs=0.02)
    assert logits.std().item() == pytest.approx(0.7, abs=0.02)


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="time_sampler=discrete_uniform: .*choices: uniform, stratified"):
        DiffusionObjective(time_sampler=DiscreteUniformTime()).check(VPrediction(), SCHEDULES["flow"])

    class OneWay(type(SCHEDULES["flow"])):  # type: ignore[misc]
        _time_of = NoiseSchedule._time_of

    with pytest.raises(ValueError, match="time_sampler=log_normal_sigma: .*OneWay"):
        DiffusionObjective(time_sampler=LogNormalSigmaTime()).check(VPrediction(), OneWay())


def test_the_advice_for_epsilon_fits_the_schedule() -> None:
    with pytest.raises(ValueError, match=r"choices: x0, v, flow, edm$"):
        EpsilonPrediction().check(SCHEDULES["flow"])
    with pytest.raises(ValueError, match=r"choices: x0, v, flow, edm, or zero_terminal_snr=false$"):
        EpsilonPrediction().check(SCHEDULES["linear_zero_snr"])


def test_noise() -> None:
    x = torch.empty(1000, 1, 10, 10, dtype=torch.float64)
    gaussian = GaussianNoise().like(x, keyed_generator("cpu", 1))
    uniform = UniformNoise().like(x, keyed_generator("cpu", 1))
    assert gaussian.dtype == uniform.dtype == torch.float64
    assert (gaussian.mean().abs().item(), gaussian.std().item()) == (
        pytest.approx(0, abs=0.01),
        pytest.approx(1, abs=0.01),
    )
    assert (uniform.min() >= 0, uniform.max() < 1) == (True, True)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)


def test_epsilon_loss_of_a_silent_network_is_the_power_of_the_noise() -> None:
    denoiser = Denoiser(Constant(0.0), SCHEDULES["linear"], EpsilonPrediction())
    x0 = torch.zeros(2000, 1, 4, 4)
    losses = DiffusionObjective()(denoiser, x0, generator=keyed_generator("cpu", 0))
    assert losses.shape == (2000,)
    assert losses.mean().item() == pytest.approx(1, abs=0.02)


def test_the_network_sees_x_t_and_its_own_timestep() -> None:
    network, schedule = Constant(0.0), SCHEDULES["linear"]
    denoiser, objective = Denoiser(network, schedule, X0Prediction()), DiffusionObjective()
    x0 = torch.randn(8, 1, 4, 4)
    draw = objective.draw(x0.shape, schedule, keyed_generator("cpu", 0))
    losses = objective.losses(denoiser, denoiser, x0, draw)
    assert torch.equal(network.time, (draw.t * 1000).round() - 1)
    torch.testing.assert_close(network.x, schedule.add_noise(x0, draw.noise, draw.t))
    torch.testing.assert_close(losses, x0.square().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("name", "time_input", "expected"),
    [
        ("linear", None, 499.0),
        ("flow", None, 500.0),
        ("edm", None, 100 * math.log(40)),
        ("linear", "t", 500.0),
        ("flow", "log_sigma", 0.0),
    ],
)
def test_what_the_network_is_told_of_the_time(name: str, time_input: str | None, expected: float) -> None:
    network = Constant(0.0)
    Denoiser(network, SCHEDULES[name], VPrediction(), time_input=time_input)(
        torch.zeros(1, 1, 2, 2), torch.tensor([0.5])
    )
    assert network.time.item() == pytest.approx(expected, abs=1e-3)


def test_time_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ValueError, match="time_input=timestep: needs a schedule with timesteps; choices: t, log_sigma, none"
    ):
        Denoiser(Constant(0.0), SCHEDULES["flow"], VPrediction(), time_input="timestep")
    with pytest.raises(ValueError, match="time_input=foo: does not exist; choices: timestep, t"):
        Denoiser(Constant(0.0), SCHEDULES["linear"], VPrediction(), time_input="foo")
    network = Constant(0.0)
    Denoiser(network, SCHEDULES["flow"], VPrediction(), time_input="none")(torch.zeros(1, 1, 2, 2), torch.tensor([0.5]))
    assert network.time is None
