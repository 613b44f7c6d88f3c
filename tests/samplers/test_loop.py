"""The loop of the samplers: grids, clipping, states, and the settings that are refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightdiff.core import (
    GaussianNoise,
    KarrasGrid,
    LeadingGrid,
    LogSNRGrid,
    NoiseSchedule,
    QuadraticGrid,
    TrailingGrid,
    UniformGrid,
    UniformNoise,
    keyed_generator,
)
from lightdiff.samplers import DDIM, DDPM, SAMPLERS, DPMSolverMultistep, Heun, Renoise, SamplerState, noiseless
from oracles import SCHEDULES, gaussian_data, noise, times

GRIDS = [TrailingGrid(), LeadingGrid(), UniformGrid(), QuadraticGrid(), KarrasGrid(), LogSNRGrid()]


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: type(grid).__name__)
def test_grids_fall_to_0_in_any_number_of_steps_or_are_refused_in_one_line(grid: object, schedule: str) -> None:
    for num_steps in (1, 2, 3, 10, 50, 199):
        try:
            points = DDIM(grid=grid).times(SCHEDULES[schedule], num_steps)  # type: ignore[arg-type]
        except ValueError as error:
            assert "\n" not in str(error)
            assert isinstance(grid, LeadingGrid)
            continue
        assert points.shape == (num_steps + 1,)
        assert points.dtype == torch.float64
        assert points[-1] == 0
        assert points[0] <= 1
        assert (points.diff() < 0).all()
        if not isinstance(grid, LeadingGrid):
            assert points[0] == 1


def test_grids_have_their_points() -> None:
    linear, flow, edm = SCHEDULES["linear"], SCHEDULES["flow"], SCHEDULES["edm"]
    assert (TrailingGrid()(linear, 4) * 1000 - 1).tolist() == [999, 749, 499, 249, -1]
    assert (TrailingGrid()(linear, 1000) * 1000).round().tolist() == list(range(1000, -1, -1))
    assert (LeadingGrid()(linear, 4)[:-1] * 1000 - 1).round().tolist() == [750, 500, 250, 0]
    assert UniformGrid()(flow, 4).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert QuadraticGrid()(flow, 4).tolist() == [1, 0.5625, 0.25, 0.0625, 0]
    i = torch.arange(18, dtype=torch.float64)
    # Karras et al. 2022, eq. 5
    sigmas = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(edm.sigma(KarrasGrid()(edm, 18)[:-1]), sigmas)
    inner = LogSNRGrid(-3.0, 3.0, final_zero=False)(linear, 6)
    torch.testing.assert_close(linear.log_snr(inner), torch.linspace(-3, 3, 7, dtype=torch.float64))


class OneWay(type(SCHEDULES["flow"])):  # type: ignore[misc]
    """A schedule without an inverse."""

    _time_of = NoiseSchedule._time_of


@pytest.mark.parametrize(
    ("sampler", "schedule", "settings", "message"),
    [
        (DDIM(), "linear", {"num_steps": 1001}, "num_steps=1001: this schedule has 1000 timesteps; at most 1000"),
        (DDIM(), "linear", {"num_steps": 0}, "num_steps=0: 1 or more"),
        (DDIM(eta=0.3), "flow", {"noise": UniformNoise()}, r"eta=0\.3: .*UniformNoise; choices: "),
        (DDPM(), "flow", {"noise": UniformNoise()}, "sampler=ddpm: .*UniformNoise"),
        (Renoise(), "flow", {"noise": UniformNoise()}, "sampler=renoise: .*UniformNoise"),
        (Heun(s_churn=1.0), "flow", {"noise": UniformNoise()}, r"s_churn=1\.0: .*UniformNoise"),
        (DPMSolverMultistep(sde=True), "flow", {"noise": UniformNoise()}, "sde=True: .*UniformNoise"),
        (DDIM(grid=KarrasGrid()), OneWay(), {"num_steps": 5}, "grid=karras: it needs a schedule with an inverse"),
        (DDIM(grid=LogSNRGrid()), OneWay(), {"num_steps": 5}, "grid=log_snr: it needs a schedule with an inverse"),
        (DDIM(grid=LeadingGrid()), "flow", {"num_steps": 5}, "grid=leading: it needs a schedule with timesteps"),
        (DDIM(grid=KarrasGrid(sigma_max=900.0)), "linear", {"num_steps": 5}, "sigma_max=900: the largest noise level"),
        (DDIM(grid=lambda schedule, n: torch.zeros(n)), "linear", {"num_steps": 5}, "6 decreasing times"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    sampler: object, schedule: object, settings: dict, message: str
) -> None:
    schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
    with pytest.raises(ValueError, match=message) as caught:
        sampler.check(schedule, **settings)  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)


def test_a_message_offers_every_sampler_that_adds_no_noise() -> None:
    assert set(noiseless()) >= {"ddim", "heun"} and not {"ddpm", "dpmpp_2m_sde", "renoise"} & set(noiseless())
    with pytest.raises(ValueError, match=f"choices: sampler={', '.join(noiseless())}, with their usual settings"):
        DDPM().check(SCHEDULES["linear"], noise=UniformNoise())


def test_what_works_is_not_refused() -> None:
    DDIM().check(SCHEDULES["flow"], num_steps=50, noise=UniformNoise())
    DDPM().check(SCHEDULES["linear"], num_steps=1000, noise=GaussianNoise())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DDIM(eta=1.5), r"eta=1\.5"),
        (lambda: DDPM(variance="medium"), "variance=medium: choices: small, large"),
        (lambda: Heun(s_churn=-1), "s_churn=-1"),
        (lambda: DPMSolverMultistep(order=4), "order=4: choices: 1, 2, 3"),
        (lambda: DDIM(dynamic_threshold=0.0), r"dynamic_threshold=0\.0"),
        (lambda: KarrasGrid(rho=0.0), r"rho=0\.0"),
        (lambda: LogSNRGrid(3.0, -3.0), r"log_snr_min=3\.0"),
    ],
)
def test_impossible_settings_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_trajectory_shows_every_stop(name: str) -> None:
    data, sampler = gaussian_data(SCHEDULES["cosine"]), SAMPLERS[name]()
    states = list(sampler.trajectory(data, noise(), 6, generator=keyed_generator("cpu", 0)))
    assert [state.t for state in states] == sampler.times(data.schedule, 6).tolist()
    assert torch.equal(states[0].x_t, noise())
    assert all(isinstance(state, SamplerState) and state.x_t.shape == state.x0_hat.shape for state in states)
    for state in states[:-1]:
        torch.testing.assert_close(state.x0_hat, data(state.x_t, torch.full((4,), state.t, dtype=torch.float64)))
    assert torch.equal(states[-1].x_t, sampler.sample(data, noise(), 6, generator=keyed_generator("cpu", 0)))


class Wild:
    """A denoiser whose x0_hat is far outside the value range."""

    schedule = SCHEDULES["linear"]
    value_range = (-1.0, 1.0)

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        self.calls += 1
        return 3 * torch.ones_like(x_t)


@pytest.mark.parametrize("sampler", [DDPM(clip_denoised=True), DDIM(clip_denoised=True)], ids=["ddpm", "ddim"])
def test_x0_is_clipped_before_the_mean_not_after(sampler: DDIM) -> None:
    first, second = list(sampler.trajectory(Wild(), noise(), 10, generator=keyed_generator("cpu", 0)))[:2]
    assert (first.x0_hat == 1).all()
    expected = sampler.step(
        *(Wild.schedule, first.x_t, torch.ones_like(first.x_t), times(*[first.t] * 4), times(*[second.t] * 4)),
        keyed_generator("cpu", 0),
    )
    torch.testing.assert_close(second.x_t, expected)
    # x_t contains noise and must not be clipped
    assert second.x_t.abs().max() > 1


def test_dynamic_threshold_shrinks_each_image_by_its_own_quantile() -> None:
    guess = torch.zeros(2, 1, 10, 10)
    guess[0] = torch.linspace(-4, 4, 100).reshape(1, 10, 10)
    guess[1] = 0.5

    class Guess(Wild):
        def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
            return guess

    state = next(DDIM(dynamic_threshold=0.9).trajectory(Guess(), torch.zeros(2, 1, 10, 10), 5))
    quantile = torch.quantile(guess[0].abs().flatten(), 0.9)
    torch.testing.assert_close(state.x0_hat[0], (guess[0] / quantile).clamp(-1, 1))
    # an image within the range stays as it is
    assert torch.equal(state.x0_hat[1], guess[1])


@pytest.mark.parametrize(
    ("sampler", "evaluations"),
    [(DDPM(), 7), (DDIM(), 7), (DPMSolverMultistep(), 7), (Heun(), 12)],
    ids=lambda v: str(v)[:4],
)
def test_evaluations_of_the_network(sampler: DDIM, evaluations: int) -> None:
    """Heun calls the network twice in a step, but once in the last and in the first, where sigma/alpha is above 80 here."""
    denoiser = Wild()
    sampler.sample(denoiser, noise(), 7, generator=keyed_generator("cpu", 0))
    assert denoiser.calls == evaluations


def test_toy_tutorials_mixing_rule() -> None:
    """The toy tutorial mixes images with uniform noise and samples by x <- x (1 - f) + x0_hat f with f = 1 / (n - i)."""
    schedule = SCHEDULES["flow"]
    x, x0_hat = noise(seed=1).abs(), noise(seed=2).abs()
    n = 5
    grid = UniformGrid()(schedule, n)
    for i in range(n):
        factor = 1 / (n - i)
        step = DDIM().step(schedule, x, x0_hat, grid[i].expand(4), grid[i + 1].expand(4))
        torch.testing.assert_close(step, x * (1 - factor) + x0_hat * factor, rtol=0, atol=1e-12)
