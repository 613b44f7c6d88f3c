"""The samplers' steps compared with those of diffusers in float64, with the same grid, noise and network.

Only the update rules of diffusers are used. Its tables, which are float32, are replaced by float64 ones computed here in numpy.
The timestep k of diffusers is our t = (k + 1) / T. Its Heun works on x / alpha, which on the EDM schedule is x itself.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler
from torch import Tensor

from lightdiff.core import (
    DiscreteSchedule,
    EDMSchedule,
    EpsilonPrediction,
    KarrasGrid,
    NoiseSchedule,
    Prediction,
    TrailingGrid,
    VPrediction,
)
from lightdiff.samplers import DDIM, DDPM, DPMSolverMultistep, Heun
from oracles import noise

# diffusers warns with a recent numpy
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
T = 1000
BETAS = torch.from_numpy(np.linspace(1e-4, 0.02, T))
BARS = torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, T)))
SCHEDULE = DiscreteSchedule(BETAS)
PREDICTIONS: dict[str, Prediction] = {"epsilon": EpsilonPrediction(), "v_prediction": VPrediction()}
ONE_STEP, FIFTY_STEPS = 1e-10, 1e-8


def output(x: Tensor, t: float) -> Tensor:
    """Return the output of a smooth function that stands in for a network."""
    return 0.8 * torch.tanh(x + 0.3) + 0.2 * torch.cos(3 * x) * t


class Model:
    """A denoiser made of the function `output`."""

    def __init__(self, prediction: Prediction, schedule: NoiseSchedule = SCHEDULE) -> None:
        self.prediction, self.schedule = prediction, schedule

    def __call__(self, x: Tensor, t: Tensor, cond: object = None) -> Tensor:
        alpha, sigma = (f(t)[:, None, None, None] for f in (self.schedule.alpha, self.schedule.sigma))
        return self.prediction.to_x0(output(x, t[0].item()), x, alpha, sigma)


class Replay:
    """A source of the same noise for both samplers: ours uses it as the generator, that of diffusers gets the tensors."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def next(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)


def with_exact_tables(scheduler: DDPMScheduler | DDIMScheduler) -> None:
    scheduler.betas, scheduler.alphas, scheduler.alphas_cumprod = BETAS, 1 - BETAS, BARS
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)


def compare(states: list[Tensor], theirs: list[Tensor]) -> None:
    assert (states[1] - theirs[0]).abs().max() < ONE_STEP
    assert (states[-1] - theirs[-1]).abs().max() < FIFTY_STEPS


def test_add_noise() -> None:
    scheduler = DDPMScheduler(num_train_timesteps=T)
    with_exact_tables(scheduler)
    x0, eps, steps = noise(5, seed=1), noise(5, seed=2), torch.tensor([0, 1, 500, 998, 999])
    ours = SCHEDULE.add_noise(x0, eps, (steps + 1).double() / T)
    assert (ours - scheduler.add_noise(x0, eps, steps)).abs().max() < 1e-12


@pytest.mark.parametrize("prediction", list(PREDICTIONS))
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(eta: float, prediction: str) -> None:
    scheduler = DDIMScheduler(
        num_train_timesteps=T, clip_sample=False, timestep_spacing="trailing", prediction_type=prediction
    )
    with_exact_tables(scheduler)
    scheduler.set_timesteps(50)
    x, replay, theirs = noise(), Replay(), []
    for step in scheduler.timesteps.tolist():
        z = replay.next(x) if eta > 0 else None
        x = scheduler.step(output(x, (step + 1) / T), step, x, eta=eta, variance_noise=z).prev_sample
        theirs.append(x)
    sampler = DDIM(eta=eta, grid=TrailingGrid())
    states = sampler.trajectory(Model(PREDICTIONS[prediction]), noise(), 50, generator=Replay().generator)
    compare([state.x_t for state in states], theirs)


@pytest.mark.parametrize("prediction", list(PREDICTIONS))
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(variance: str, prediction: str) -> None:
    scheduler = DDPMScheduler(
        num_train_timesteps=T,
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type=prediction,
        variance_type=f"fixed_{variance}",
    )
    with_exact_tables(scheduler)
    scheduler.set_timesteps(50)
    x, replay, theirs = noise(), Replay(), []
    for step in scheduler.timesteps.tolist():
        x = scheduler.step(output(x, (step + 1) / T), step, x, generator=replay.generator).prev_sample
        theirs.append(x)
    sampler = DDPM(variance=variance, grid=TrailingGrid())  # type: ignore[arg-type]
    states = sampler.trajectory(Model(PREDICTIONS[prediction]), noise(), 50, generator=Replay().generator)
    ours = [state.x_t for state in states]
    compare(ours[:-1], theirs[:-1])
    # with the large variance, diffusers adds noise in the last step too, and we do not
    source = Replay()
    z = [source.next(x) for _ in range(50)][-1]
    added = (1 - BARS[scheduler.timesteps[-1]]).sqrt() * z if variance == "large" else 0
    assert (ours[-1] + added - theirs[-1]).abs().max() < FIFTY_STEPS


@pytest.mark.parametrize("prediction", list(PREDICTIONS))
@pytest.mark.parametrize("sde", [False, True])
def test_dpm_solver_2m(sde: bool, prediction: str) -> None:
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=T,
        algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
        timestep_spacing="trailing",
        prediction_type=prediction,
    )
    scheduler.set_timesteps(50)
    bars = BARS[scheduler.timesteps]
    scheduler.sigmas = torch.cat([((1 - bars) / bars).sqrt(), torch.zeros(1, dtype=torch.float64)])
    x, replay, theirs, guesses = noise(), Replay(), [], []
    # this is the scheduler's `step` with the same choice of the order, but in float64
    for i, step in enumerate(scheduler.timesteps.tolist()):
        z = replay.next(x) if sde else None
        scheduler._step_index = i
        guesses.append(scheduler.convert_model_output(output(x, (step + 1) / T), sample=x))
        if i in (0, 49):
            x = scheduler.dpm_solver_first_order_update(guesses[-1], sample=x, noise=z)
        else:
            x = scheduler.multistep_dpm_solver_second_order_update(guesses[-2:], sample=x, noise=z)
        theirs.append(x)
    sampler = DPMSolverMultistep(sde=sde, grid=TrailingGrid())
    states = sampler.trajectory(Model(PREDICTIONS[prediction]), noise(), 50, generator=Replay().generator)
    compare([state.x_t for state in states], theirs)


@pytest.mark.parametrize("num_steps", [10, 50])
@pytest.mark.parametrize("prediction", list(PREDICTIONS))
def test_dpm_solver_3m(num_steps: int, prediction: str) -> None:
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=T,
        algorithm_type="dpmsolver++",
        solver_order=3,
        final_sigmas_type="zero",
        timestep_spacing="trailing",
        prediction_type=prediction,
    )
    scheduler.set_timesteps(num_steps)
    bars = BARS[scheduler.timesteps]
    scheduler.sigmas = torch.cat([((1 - bars) / bars).sqrt(), torch.zeros(1, dtype=torch.float64)])
    lambdas = -scheduler.sigmas[:-1].log()
    x, theirs, guesses = noise(), [], []
    for i, step in enumerate(scheduler.timesteps.tolist()):
        scheduler._step_index = i
        guesses.append(scheduler.convert_model_output(output(x, (step + 1) / T), sample=x))
        if i in (0, num_steps - 1):
            x = scheduler.dpm_solver_first_order_update(guesses[-1], sample=x)
        # the last step but one is of lower order where there are fewer than 15
        elif i == 1 or (i == num_steps - 2 and num_steps < 15):
            x = scheduler.multistep_dpm_solver_second_order_update(guesses[-2:], sample=x)
        else:
            x = scheduler.multistep_dpm_solver_third_order_update(guesses[-3:], sample=x)
            # theirs has h^2 / 2 times the second derivative where the Taylor expansion has h^2: the other half
            h, h_1, h_2 = (lambdas[i + 1 - k] - lambdas[i - k] for k in range(3))
            curvature = ((guesses[-1] - guesses[-2]) / h_1 - (guesses[-2] - guesses[-3]) / h_2) / (h_1 + h_2)
            alpha_s = 1 / (1 + scheduler.sigmas[i + 1] ** 2).sqrt()
            x = x - alpha_s * (torch.exp(-h) - 1 + h - h**2 / 2) * curvature
        theirs.append(x)
    sampler = DPMSolverMultistep(order=3, grid=TrailingGrid())
    states = [state.x_t for state in sampler.trajectory(Model(PREDICTIONS[prediction]), noise(), num_steps)]
    assert (states[1] - theirs[0]).abs().max() < ONE_STEP
    assert (torch.stack(states[1:]) - torch.stack(theirs)).abs().max() < FIFTY_STEPS


def test_heun_on_edms_schedule_and_grid() -> None:
    schedule = EDMSchedule()
    grid = KarrasGrid()(schedule, 50)
    sigmas = schedule.sigma(grid)
    scheduler = HeunDiscreteScheduler(num_train_timesteps=T, prediction_type="epsilon")
    scheduler.set_timesteps(50)
    scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
    # the scheduler uses the timesteps only to look up their index, so any distinct numbers will do
    scheduler.timesteps = torch.arange(len(scheduler.sigmas) - 1, dtype=torch.float64)
    scheduler._step_index, scheduler._begin_index = None, 0
    x, theirs = schedule.prior_std * noise(), []
    for i, step in enumerate(scheduler.timesteps):
        t = scheduler.sigmas[i].item() / schedule.sigma_max
        x = scheduler.step(output(x, t), step, x).prev_sample
        if i % 2 == 1 or i == len(scheduler.timesteps) - 1:
            theirs.append(x)
    states = Heun().trajectory(Model(EpsilonPrediction(), schedule), schedule.prior_std * noise(), 50)
    compare([state.x_t for state in states], theirs)
