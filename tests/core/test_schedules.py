"""Schedules compared with the formulas of their papers, written again in numpy, and the invariants of every schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from lightdiff.core import (
    Denoiser,
    DiffusionObjective,
    DiscreteSchedule,
    EDMPrediction,
    EDMSchedule,
    FlowSchedule,
    MinSNRWeighting,
    Scales,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    sigmoid_betas,
)
from lightdiff.samplers import DDIM, DDPM, DPMSolverMultistep, Heun, Renoise, Sampler
from oracles import DISCRETE, SCHEDULES, times

T_ALL = torch.linspace(0, 1, 1001, dtype=torch.float64)


def numpy_betas(name: str, T: int) -> np.ndarray:
    k = np.arange(T)
    u = k / (T - 1)
    if name == "linear":
        return 1e-4 + (0.02 - 1e-4) * u
    if name == "scaled_linear":
        return (math.sqrt(1e-4) + (math.sqrt(0.02) - math.sqrt(1e-4)) * u) ** 2
    if name == "sigmoid":
        return 1e-4 + (0.02 - 1e-4) / (1 + np.exp(-(12 * u - 6)))

    def bar(x: np.ndarray) -> np.ndarray:
        return np.cos((x + 0.008) / 1.008 * math.pi / 2) ** 2

    return np.minimum(1 - bar((k + 1) / T) / bar(k / T), 0.999)


OURS = {"linear": linear_betas, "scaled_linear": scaled_linear_betas, "sigmoid": sigmoid_betas, "cosine": cosine_betas}


@pytest.mark.parametrize("T", [10, 200, 1000])
@pytest.mark.parametrize("name", list(OURS))
def test_betas_have_the_papers_formula(name: str, T: int) -> None:
    betas = OURS[name](T)
    assert betas.dtype == torch.float64
    np.testing.assert_allclose(betas.numpy(), numpy_betas(name, T), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("linear", "linear"), ("scaled_linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2"), ("sigmoid", "sigmoid")],
)
def test_betas_of_diffusers_are_the_same_up_to_its_float32(ours: str, theirs: str) -> None:
    reference = DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs).betas
    np.testing.assert_allclose(reference.numpy(), numpy_betas(ours, 1000), rtol=2e-5)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "sigmoid"])
def test_rescaled_betas_end_at_the_same_noise_for_any_T(name: str) -> None:
    ends = [
        DiscreteSchedule(OURS[name](T, rescale=rescale)).alphas_cumprod[-1].log().item()
        for T, rescale in ((1000, True), (1000, False), (250, True), (250, False))
    ]
    # at T = 1000 rescaling changes nothing
    assert ends[0] == ends[1]
    assert ends[2] == pytest.approx(ends[0], rel=0.04)
    # without rescaling, a quarter of the steps adds a quarter of the noise
    assert ends[3] == pytest.approx(ends[0] / 4, rel=0.04)


def test_cosine_does_not_depend_on_T() -> None:
    ends = [DiscreteSchedule(cosine_betas(T)).alphas_cumprod[T // 2 - 1].item() for T in (100, 1000)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_clean_at_0_and_log_snr_strictly_falls(name: str) -> None:
    schedule = SCHEDULES[name]
    assert schedule.alpha(times(0.0)).item() == 1
    assert schedule.sigma(times(0.0)).item() == 0
    assert (schedule.log_snr(T_ALL[1:-1]).diff() < 0).all()
    assert (schedule.sigma(T_ALL).diff() > 0).all()
    assert schedule.log_snr(times(0.0)).isfinite().all()
    assert schedule.log_snr(times(1.0)).isfinite().all()


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_inverse_leads_back(name: str) -> None:
    schedule = SCHEDULES[name]
    t = torch.linspace(0.0007, 0.9993, 2001, dtype=torch.float64)
    torch.testing.assert_close(schedule.t_from_log_snr(schedule.log_snr(t)), t, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", DISCRETE)
def test_variance_is_preserved_and_the_table_is_met(name: str) -> None:
    schedule = SCHEDULES[name]
    assert isinstance(schedule, DiscreteSchedule)
    T = schedule.num_train_timesteps
    t = torch.arange(1, T + 1, dtype=torch.float64) / T
    torch.testing.assert_close(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones(T, dtype=torch.float64))
    torch.testing.assert_close(schedule.alpha(t) ** 2, schedule.alphas_cumprod, rtol=1e-12, atol=1e-15)
    middle = schedule.alpha(t[:-1] + 0.5 / T) ** 2
    torch.testing.assert_close(middle, (schedule.alphas_cumprod[:-1] + schedule.alphas_cumprod[1:]) / 2)


def test_alphas_cumprod_is_the_product() -> None:
    for T in (1, 7, 1000):
        betas = linear_betas(T) if T > 1 else torch.tensor([0.3], dtype=torch.float64)
        expected = np.cumprod(1 - betas.numpy())
        np.testing.assert_allclose(DiscreteSchedule(betas).alphas_cumprod.numpy(), expected, rtol=1e-12)


def test_timesteps_are_not_off_by_one() -> None:
    schedule = SCHEDULES["linear"]
    assert isinstance(schedule, DiscreteSchedule)
    assert schedule.timestep(times(1.0, 0.001, 0.5, 0.0)).tolist() == [999, 0, 499, 0]
    for dtype in (torch.float32, torch.float64):
        t = (torch.arange(1, 1001, dtype=torch.float64) / 1000).to(dtype)
        assert schedule.timestep(t).tolist() == list(range(1000))
        assert torch.equal(schedule.timestep(schedule.snap(t)), torch.arange(1000))


def test_small_noise_is_exact() -> None:
    betas = torch.full((100,), 1e-9, dtype=torch.float64)
    assert DiscreteSchedule(betas).sigma(times(0.01)).item() == pytest.approx(math.sqrt(1e-9), rel=1e-12)


def test_zero_terminal_snr() -> None:
    plain, zero = DiscreteSchedule(linear_betas(1000)), SCHEDULES["linear_zero_snr"]
    assert zero.alpha(times(1.0)).item() == 0
    assert zero.sigma(times(1.0)).item() == 1
    t = T_ALL[1:]
    roots = plain.alpha(t)
    expected = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    torch.testing.assert_close(zero.alpha(t), expected, rtol=1e-9, atol=1e-12)


def test_formulas() -> None:
    t = T_ALL
    torch.testing.assert_close(FlowSchedule().alpha(t), 1 - t)
    torch.testing.assert_close(FlowSchedule().sigma(t), t)
    torch.testing.assert_close(EDMSchedule(sigma_max=50.0).sigma(t), 50 * t)
    assert (EDMSchedule().alpha(t) == 1).all()
    assert EDMSchedule(sigma_max=50.0).prior_std == 50
    assert FlowSchedule().prior_std == 1


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_dtype_in_is_dtype_out_and_nothing_is_lost_in_between(name: str) -> None:
    schedule = SCHEDULES[name]
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    for method in (schedule.alpha, schedule.sigma, schedule.log_snr):
        assert method(t.float()).dtype == torch.float32
        exact = method(t.float().double())
        torch.testing.assert_close(method(t.float()).double(), exact, rtol=1e-6, atol=1e-7)


def test_add_noise_is_per_image() -> None:
    schedule = SCHEDULES["linear"]
    x0, eps = torch.ones(2, 3, 4, 4, dtype=torch.float64), torch.full((2, 3, 4, 4), 2.0, dtype=torch.float64)
    x_t = schedule.add_noise(x0, eps, times(0.25, 1.0))
    for row, t in zip(x_t, (0.25, 1.0), strict=True):
        expected = schedule.alpha(times(t)) + 2 * schedule.sigma(times(t))
        torch.testing.assert_close(row, expected.expand(3, 4, 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: linear_betas(0), "T=0"),
        (lambda: linear_betas(10, beta_start=0.0), "beta_start=0.0"),
        (lambda: linear_betas(10, beta_end=1.5), "beta_end=1.5"),
        (lambda: linear_betas(10, rescale=True), "T=10: .*T >= 21"),
        (lambda: cosine_betas(10, max_beta=1.0), "max_beta=1.0"),
        (lambda: DiscreteSchedule([]), "betas="),
        (lambda: DiscreteSchedule([0.1, -0.1]), "betas=-0.1 at index 1"),
        (lambda: EDMSchedule(sigma_min=90.0), "sigma_min=90.0"),
    ],
)
def test_refusals(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_both_scales_are_those_of_the_short_forms(name: str) -> None:
    schedule = SCHEDULES[name]
    for t in (T_ALL, T_ALL.float()):
        scales = schedule(t)
        assert torch.equal(scales.alpha, schedule.alpha(t)) and torch.equal(scales.sigma, schedule.sigma(t))
        assert schedule.exact(t).alpha.dtype == torch.float64
        assert torch.equal(schedule.exact(t).log_snr.to(t.dtype), schedule.log_snr(t))


class Identity(nn.Module):
    """A network that returns its input."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, cond: None = None) -> torch.Tensor:
        return x


class Counted(FlowSchedule):
    """Counts how often its scales are computed."""

    count = 0

    def _at(self, t: torch.Tensor) -> Scales:
        Counted.count += 1
        return super()._at(t)


def test_a_loss_computes_the_scales_once() -> None:
    for time_input in ("t", "log_sigma"):
        denoiser = Denoiser(Identity(), Counted(), EDMPrediction(), time_input=time_input)
        Counted.count = 0
        objective = DiffusionObjective(MinSNRWeighting())
        objective(denoiser, torch.zeros(2, 1, 4, 4), generator=torch.Generator())
        assert Counted.count == 1


@pytest.mark.parametrize("sampler", [DDIM(eta=0.5), DDPM(), Heun(), DPMSolverMultistep(), Renoise()])
def test_a_trajectory_computes_the_scales_of_its_grid_once(sampler: Sampler) -> None:
    schedule = Counted()

    def denoiser(x_t: torch.Tensor, t: torch.Tensor, cond: None = None) -> torch.Tensor:
        return x_t / 2

    denoiser.schedule = schedule  # type: ignore[attr-defined]
    Counted.count = 0
    sampler.sample(denoiser, torch.ones(2, 1, 4, 4), 5)
    assert Counted.count == 1
