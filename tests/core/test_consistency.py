"""Consistency training: its loss and its target against their equations and against the exact consistency function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from consistency_parts import KEEPING, PREDICTIONS, Curve, Kept, T
from lightdiff.core import (
    MSE,
    ConsistencyObjective,
    Denoiser,
    DiffusionObjective,
    Draw,
    EDMPrediction,
    EDMSchedule,
    MinSNRWeighting,
    PseudoHuber,
    VPrediction,
    keyed_generator,
)
from oracles import SCHEDULES, ConsistencyFunction, gaussian_data, gaussian_flow_map, noise, rms, slope, times


def allowed(schedule: str, prediction: str) -> bool:
    return prediction != "epsilon" or SCHEDULES[schedule].alpha(times(1.0)).item() > 0


@pytest.mark.parametrize("prediction", list(PREDICTIONS))
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_at_ratio_0_it_is_the_loss_of_ordinary_training(schedule: str, prediction: str) -> None:
    if not allowed(schedule, prediction):
        return
    denoiser = Denoiser(Curve(), SCHEDULES[schedule], PREDICTIONS[prediction])
    draw = Draw(T, noise(seed=1))
    for distance, weighting in ((PseudoHuber(), MinSNRWeighting()), (MSE(), DiffusionObjective().weighting)):
        plain = DiffusionObjective(weighting, distance)
        consistency = ConsistencyObjective([0.0], weighting, distance)
        expected = plain.losses(denoiser, denoiser, noise(seed=2), draw)
        found = consistency.losses(denoiser, denoiser, noise(seed=2), draw)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            *(torch.autograd.grad(each.sum(), denoiser.network.a)[0] for each in (found, expected)), rtol=1e-9, atol=0
        )
    # the times and the noise are drawn as they are for ordinary training
    drawn = [each.draw((5, 1, 2, 3), denoiser.schedule, keyed_generator("cpu", 0)) for each in (plain, consistency)]
    assert torch.equal(drawn[0].t, drawn[1].t) and torch.equal(drawn[0].noise, drawn[1].noise)


def test_the_loss_is_that_of_the_paper_on_the_edm_schedule() -> None:
    """Song et al. 2023, eq. 10: lambda(t) d(f(x + t z, t), f(x + r z, r)), with f, d and the weight written out."""
    network, sigma_data, c = Curve(), 0.5, 0.03
    denoiser = Denoiser(network, EDMSchedule(), EDMPrediction(sigma_data))
    x0, z, sigma_t = noise(seed=2), noise(seed=1), times(0.02, 0.7, 5.0, 80.0)

    def f(x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma[:, None, None, None]
        norm = (sigma**2 + sigma_data**2).sqrt()
        output = network(x / norm, 100 * sigma.log().flatten())
        return sigma_data**2 / norm**2 * x + sigma * sigma_data / norm * output

    for ratio in (0.5, 0.875, 0.999):
        # the noise level r whose sigma / (1 + sigma) is that of t times the ratio
        share = ratio * sigma_t / (1 + sigma_t)
        sigma_r = share / (1 - share)
        x_t, x_r = (x0 + sigma[:, None, None, None] * z for sigma in (sigma_t, sigma_r))
        difference = f(x_t, sigma_t) - f(x_r, sigma_r)
        c_out = sigma_t * sigma_data / (sigma_t**2 + sigma_data**2).sqrt()
        expected = ((difference.square().mean((1, 2, 3)) / c_out**2) + c**2).sqrt() - c
        objective = Kept([ratio], distance=PseudoHuber(c))
        found = objective.losses(denoiser, denoiser, x0, Draw(sigma_t / 80, z))
        torch.testing.assert_close(objective.target, f(x_r, sigma_r), rtol=0, atol=1e-12)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("prediction", KEEPING)
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_target_is_x0_hat_of_the_same_image_with_less_of_the_same_noise(schedule: str, prediction: str) -> None:
    if not allowed(schedule, prediction):
        return
    denoiser = Denoiser(Curve(), SCHEDULES[schedule], PREDICTIONS[prediction])
    x0, z, ratio = noise(seed=2), noise(seed=1), 0.75
    objective = Kept([ratio])
    objective.losses(denoiser, denoiser, x0, Draw(T, z))
    r = denoiser.schedule.t_from_flow_time(ratio * denoiser.schedule.exact(T).flow_time)
    expected = denoiser(denoiser.schedule.add_noise(x0, z, r), r)
    torch.testing.assert_close(objective.target, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_target_of_the_exact_function_is_the_function_as_the_ratio_goes_to_1(schedule: str) -> None:
    """With the direction of the flow itself, one step of Euler's method: its error falls like (1 - ratio)^2."""
    function: Any = ConsistencyFunction(gaussian_flow_map(SCHEDULES[schedule]))
    function.prediction = VPrediction()
    data, x0 = gaussian_data(function.schedule), noise(seed=2)
    draw, steps = Draw(T, noise(seed=1)), [2**k for k in range(4, 10)]
    x_t = function.schedule.add_noise(x0, draw.noise, T)
    errors = []
    for step in steps:
        objective = Kept([1 - 1 / step])
        objective.towards = data
        objective.losses(function, function, x0, draw)
        errors.append(rms(objective.target - function(x_t, T)))
    assert slope(steps, errors) == pytest.approx(2, abs=0.1)
    assert errors[-1] < 1e-4


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_only_the_exact_function_has_the_lowest_loss(schedule: str) -> None:
    """Perturbations that vanish without noise: of either sign they raise the loss, and the gradient leads back."""

    class Perturbed(ConsistencyFunction):
        prediction = VPrediction()
        size = torch.zeros((), dtype=torch.float64, requires_grad=True)
        shape = staticmethod(torch.ones_like)

        def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
            at = self.schedule.exact(t).per_image(x_t)
            y = x_t / (at.alpha + at.sigma)
            return super().__call__(x_t, t) + self.size * at.flow_time * self.shape(y)

    function: Any = Perturbed(gaussian_flow_map(SCHEDULES[schedule]))
    data = gaussian_data(function.schedule)
    objective = Kept([63 / 64], distance=MSE())
    objective.towards = data
    x0, draw = data.mean + data.std * noise(64, seed=2), Draw(T.repeat(16), noise(64, seed=1))

    def loss_and_gradient(size: float) -> tuple[float, float]:
        function.size = times(size).squeeze().requires_grad_()
        loss = objective.losses(function, function, x0, draw).mean()
        return loss.item(), torch.autograd.grad(loss, function.size)[0].item()

    for shape in (torch.ones_like, lambda y: y, torch.sin, lambda y: y**2):
        function.shape = shape
        least, flat = loss_and_gradient(0.0)
        for size in (0.3, -0.3):
            loss, gradient = loss_and_gradient(size)
            assert loss > 10 * least
            assert gradient * size > 0 and abs(gradient) > 10 * abs(flat)
