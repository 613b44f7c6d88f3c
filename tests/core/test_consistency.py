"""Consistency training: its loss and target against their equations, the exact consistency function, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from closed_forms import GaussianData
from lightdiff.config.build import build_model
from lightdiff.config.instantiate import ConfigError
from lightdiff.core import (
    MSE,
    ConsistencyObjective,
    DefaultTime,
    Denoiser,
    DiffusionObjective,
    Draw,
    EDMPrediction,
    EDMSchedule,
    EpsilonPrediction,
    FlowPrediction,
    FlowSchedule,
    LogNormalSigmaTime,
    MinSNRWeighting,
    PseudoHuber,
    Scales,
    VPrediction,
    X0Prediction,
    keyed_generator,
)
from lightdiff.core.consistency import keeps_images
from oracles import SCHEDULES, ConsistencyFunction, gaussian_data, gaussian_flow_map, noise, rms, slope, times
from runs import tiny

T = times(0.1, 0.4, 0.75, 1.0)
PREDICTIONS = {
    "epsilon": EpsilonPrediction(),
    "x0": X0Prediction(),
    "v": VPrediction(),
    "flow": FlowPrediction(),
    "edm": EDMPrediction(0.3),
}
KEEPING = [name for name in PREDICTIONS if name != "x0"]


class Curve(nn.Module):
    """A small network in float64: tanh(a x + b time / 500 + c)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(times(value)) for value in (0.7, 0.4, -0.2))

    def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
        return torch.tanh(self.a * x + self.b * time[:, None, None, None].to(x.dtype) / 500 + self.c)


class Kept(ConsistencyObjective):
    """Keeps the target of the last losses; a small step goes towards `towards(x_t, t)` where that is given."""

    towards: GaussianData | None = None

    def direction(self, x0: Tensor, x_t: Tensor, draw: Draw, at_t: Scales) -> Tensor:
        return x0 if self.towards is None else self.towards(x_t, draw.t)

    def compared(self, denoiser: Any, x0_hat: Tensor, target: Tensor, *others: Any) -> Tensor:
        self.target = target
        return super().compared(denoiser, x0_hat, target, *others)


def allowed(schedule: str, prediction: str) -> bool:
    return prediction != "epsilon" or SCHEDULES[schedule].alpha(times(1.0)).item() > 0


def test_pseudo_huber_is_its_equation() -> None:
    output, target = noise(seed=1), noise(seed=2)
    target[1], target[2] = output[1], output[2] + 1e-5
    for c in (0.00054, 0.3):
        found = PseudoHuber(c)(output, target)
        count = output[0].numel()
        norm = (output - target).flatten(1).norm(dim=1)
        # the paper's constant is c times the root of the number of values, and the whole is divided by that root
        paper = ((norm**2 + (c * count**0.5) ** 2).sqrt() - c * count**0.5) / count**0.5
        torch.testing.assert_close(found, paper, rtol=1e-9, atol=1e-12)
        assert found[1] == 0
    # far above c it is the root of the mean squared error, far below it the mean squared error / (2 c)
    torch.testing.assert_close(PseudoHuber(1e-9)(output, target)[0], MSE()(output, target)[0].sqrt())
    assert PseudoHuber(0.3)(output, target)[2].item() == pytest.approx(1e-10 / 0.6, rel=1e-3)
    assert PseudoHuber()(output.bfloat16(), target.bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"^c=0\.0: a number above 0 is expected$"):
        PseudoHuber(0.0)


def test_the_gradient_of_pseudo_huber_is_finite_where_output_and_target_are_equal() -> None:
    output = noise(seed=1).requires_grad_()
    PseudoHuber()(output, output.detach().clone()).sum().backward()
    assert output.grad is not None and torch.equal(output.grad, torch.zeros_like(output))


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


def test_predictions_that_do_not_keep_images_are_refused_with_the_choices() -> None:
    for name, prediction in PREDICTIONS.items():
        assert keeps_images(prediction) == (name in KEEPING)
    assert all(keeps_images(EDMPrediction(k / 100)) for k in range(1, 200)), "whatever its rounding"
    for schedule, choices in (("linear", "epsilon, v, flow, edm"), ("flow", "v, flow, edm")):
        with pytest.raises(ValueError) as error:
            ConsistencyObjective().check(X0Prediction(), SCHEDULES[schedule])
        assert str(error.value) == (
            f"prediction=x0: a consistency model needs x0_hat = x where there is no noise; choices: {choices}"
        )
    with pytest.raises(ConfigError, match=r"^objective\.prediction=x0: a consistency model needs .*; choices: epsilon"):
        build_model(tiny("objective=consistency", "objective/prediction=x0"))


@pytest.mark.parametrize(
    "ratios", [[], [0.5, 0.25], [1.0], [-0.1, 0.5], [0.0, 1.5], [float("nan")]], ids=lambda ratios: str(ratios)
)
def test_impossible_ratios_are_refused(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^ratios=\[.*\]: numbers from 0 to below 1 that rise are expected$"):
        ConsistencyObjective(ratios)


def test_the_ratio_grows_in_equal_stages_of_training() -> None:
    objective = ConsistencyObjective([0.0, 0.5, 0.75])
    found = [objective.ratio(progress) for progress in (0.0, 0.33, 1 / 3, 0.5, 0.66, 2 / 3, 0.99, 1.0)]
    assert found == [0.0, 0.0, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75]
    # each stage has as many steps, whatever the number of all steps
    for count in range(1, 30):
        stages = ConsistencyObjective([k / 100 for k in range(count)])
        total = 7 * count
        ratios = [stages.ratio(step / total) for step in range(total)]
        assert [ratios.count(k / 100) for k in range(count)] == [7] * count
    assert objective.needs_end and not ConsistencyObjective([0.5]).needs_end
    assert not DiffusionObjective().needs_end
    # the loss follows it
    denoiser, draw = Denoiser(Curve(), FlowSchedule(), VPrediction()), Draw(T, noise(seed=1))
    for progress, ratio in ((0.2, 0.0), (0.4, 0.5), (1.0, 0.75)):
        loss = objective.losses(denoiser, denoiser, noise(seed=2), draw, progress=progress)
        single = ConsistencyObjective([ratio]).losses(denoiser, denoiser, noise(seed=2), draw)
        assert torch.equal(loss, single)


def test_no_gradient_goes_through_the_target() -> None:
    denoiser, draw = Denoiser(Curve(), FlowSchedule(), VPrediction()), Draw(T, noise(seed=1))
    objective = Kept([0.75])
    gradients = torch.autograd.grad(
        objective.losses(denoiser, denoiser, noise(seed=2), draw).sum(), denoiser.network.parameters()
    )
    assert not objective.target.requires_grad
    target = objective.target.clone()
    at_t = denoiser.schedule.exact(T)
    x0_hat = denoiser(at_t.mix(noise(seed=2), draw.noise), T)
    loss = objective.compared(denoiser, x0_hat, target, at_t, T.dtype).sum()
    for found, expected in zip(gradients, torch.autograd.grad(loss, denoiser.network.parameters()), strict=True):
        assert torch.equal(found, expected)


def test_two_processes_compute_what_one_does() -> None:
    """Each takes its rows of the draw; the mean of their gradients, as DDP makes it, is that of the whole batch."""
    denoiser, x0 = Denoiser(Curve(), FlowSchedule(), VPrediction()), noise(6, seed=2)
    objective = ConsistencyObjective([0.75])
    draw = objective.draw(x0.shape, denoiser.schedule, keyed_generator("cpu", 0), x0.dtype)
    whole = objective.losses(denoiser, denoiser, x0, draw)
    parts = [slice(rank, None, 2) for rank in range(2)]
    losses = [objective.losses(denoiser, denoiser, x0[rows], draw.rows(rows)) for rows in parts]
    for rows, part in zip(parts, losses, strict=True):
        torch.testing.assert_close(part, whole[rows], rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(part.mean(), list(denoiser.parameters())) for part in (whole, *losses)]
    for one, first, second in zip(*gradients, strict=True):
        torch.testing.assert_close((first + second) / 2, one, rtol=1e-10, atol=0)


class Dropping(nn.Module):
    """A network that answers dropout of ones, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.calls = nn.Dropout(0.5), 0

    def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
        self.calls += 1
        return self.dropout(torch.ones_like(x))


def test_dropout_is_the_same_at_both_times() -> None:
    """With r so near t that only another dropout could tell the two estimates apart."""
    objective, x0 = Kept([1 - 1e-12]), noise(64, seed=2)
    denoiser, draw = Denoiser(Dropping(), FlowSchedule(), FlowPrediction()), Draw(T.repeat(16), noise(64, seed=1))
    losses = objective.losses(denoiser, denoiser, x0, draw)
    assert denoiser.network.calls == 2 and losses.max() < 1e-6
    again = objective.losses(denoiser, denoiser, x0, draw)
    assert again.max() < 1e-6
    assert len(objective.target.flatten().unique()) > 1, "something was dropped"


def test_the_global_random_numbers_do_not_depend_on_the_target() -> None:
    denoiser, draw = Denoiser(Dropping(), FlowSchedule(), FlowPrediction()), Draw(T, noise(seed=1))
    after = []
    for objective in (DiffusionObjective(), ConsistencyObjective([0.0]), ConsistencyObjective([0.75])):
        torch.manual_seed(7)
        objective.losses(denoiser, denoiser, noise(seed=2), draw)
        after.append(torch.get_rng_state())
    assert torch.equal(after[0], after[1]) and torch.equal(after[0], after[2])


def test_the_network_sees_times_of_one_type() -> None:
    class Typed(Curve):
        def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
            assert (x.dtype, time.dtype) == (torch.float32, torch.float32)
            return 0.5 * x

    for schedule in SCHEDULES.values():
        denoiser, objective = Denoiser(Typed(), schedule, VPrediction()), ConsistencyObjective([0.75])
        draw = objective.draw((4, 1, 2, 3), schedule, keyed_generator("cpu", 0))
        losses = objective.losses(denoiser, denoiser, noise().float(), draw)
        assert losses.dtype == torch.float32 and losses.isfinite().all()


def test_images_without_noise_cost_nothing() -> None:
    """A time of 0 can be drawn; x0_hat is the image there, at t and at r."""
    denoiser = Denoiser(Curve(), FlowSchedule(), VPrediction())
    losses = ConsistencyObjective([0.75]).losses(denoiser, denoiser, noise(seed=2), Draw(0 * T, noise(seed=1)))
    assert torch.equal(losses, torch.zeros(4, dtype=torch.float64))


class Affine(nn.Module):
    """A tiny network that can be the exact function: a(time) x + b(time), with a and b for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.coefficients = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 12)).double()

    def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
        a, b = self.coefficients(time[:, None] / 500 - 1).view(-1, 2, 1, 2, 3).unbind(1)
        return a * x + b


CASES = {
    "flow": (VPrediction(), DefaultTime()),
    "cosine": (VPrediction(), DefaultTime()),
    # the usual times of this schedule hardly ever come to its noisy end, where one step begins
    "edm": (EDMPrediction(), LogNormalSigmaTime(-1.1, 2.0)),
}


@pytest.mark.parametrize("schedule", list(CASES))
def test_training_leads_to_the_exact_consistency_function(schedule: str) -> None:
    """After the first stage, ordinary training, one step is far from it; after the last one less than a fifth as far."""
    prediction, time_sampler = CASES[schedule]
    function, data = ConsistencyFunction(gaussian_flow_map(SCHEDULES[schedule])), gaussian_data(SCHEDULES[schedule])
    torch.manual_seed(0)
    denoiser = Denoiser(Affine(), function.schedule, prediction)
    objective = ConsistencyObjective(distance=MSE(), time_sampler=time_sampler)
    steps, generator = 480, keyed_generator("cpu", 0)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    errors = []
    for step in range(steps):
        x0 = data.mean + data.std * torch.randn(128, 1, 2, 3, generator=generator, dtype=torch.float64)
        draw = objective.draw(x0.shape, function.schedule, generator, torch.float64)
        draw = Draw(draw.t.double(), draw.noise)
        optimizer.zero_grad()
        objective.losses(denoiser, denoiser, x0, draw, progress=step / steps).mean().backward()
        optimizer.step()
        slower.step()
        if (step + 1) % (steps // 4) == 0:
            x_T, ends = function.schedule.prior_std * noise(256), times(1.0).expand(256)
            errors.append(rms((denoiser(x_T, ends) - function(x_T, ends)).detach()))
    assert errors[0] > 0.2
    assert errors[-1] < errors[0] / 5, errors
