"""Progressive distillation: one step of the student lands where two of the teacher land, on grids of which one has the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightdiff.core import (
    Condition,
    Denoiser,
    DistillationDraw,
    FlowPrediction,
    FlowTimeGrid,
    NoiseSchedule,
    ProgressiveDistillation,
    VPrediction,
    keyed_generator,
    per_image,
)
from lightdiff.samplers import DDIM
from oracles import SCHEDULES, GaussianDenoiser, noise, times

COUNT = 12


def exact_draw(objective: ProgressiveDistillation, schedule: NoiseSchedule) -> DistillationDraw:
    """A draw of the objective with times as exact as the grid."""
    draw = objective.draw((COUNT, 1, 2, 3), schedule, keyed_generator("cpu", "draw"), torch.float64)
    grid = FlowTimeGrid()(schedule, 2 * objective.num_steps)
    t, u, s = (grid[(grid - time[:, None]).abs().argmin(1)] for time in (draw.t, draw.u, draw.s))
    return DistillationDraw(t, draw.noise, u, s)


def two_steps(denoiser: Denoiser, x_t: Tensor, draw: DistillationDraw) -> Tensor:
    """Where two steps of DDIM land."""
    step, schedule = DDIM(eta=0.0).step, denoiser.schedule
    x_u = step(schedule, x_t, denoiser(x_t, draw.t), draw.t, draw.u)
    return step(schedule, x_u, denoiser(x_u, draw.u), draw.u, draw.s)


def papers_target(denoiser: Denoiser, x_t: Tensor, draw: DistillationDraw) -> Tensor:
    """The formula of algorithm 2."""
    x_s = two_steps(denoiser, x_t, draw)
    at_t, at_s = (denoiser.schedule.exact(time) for time in (draw.t, draw.s))
    ratio = per_image(at_s.sigma / at_t.sigma, x_t)
    return (x_s - ratio * x_t) / (per_image(at_s.alpha, x_t) - ratio * per_image(at_t.alpha, x_t))


@pytest.mark.parametrize("num_steps", [1, 2, 4])
@pytest.mark.parametrize("name", SCHEDULES)
def test_one_step_towards_the_target_lands_where_the_teachers_two_steps_land(name: str, num_steps: int) -> None:
    schedule = SCHEDULES[name]
    objective, teacher = ProgressiveDistillation(num_steps), GaussianDenoiser(schedule)
    objective.learn_from(teacher)
    draw = exact_draw(objective, schedule)
    x_t = schedule.exact(draw.t).mix(noise(COUNT, 1), draw.noise)
    target = objective.target(x_t, draw, schedule)
    landed = DDIM(eta=0.0).step(schedule, x_t, target, draw.t, draw.s)
    torch.testing.assert_close(landed, two_steps(teacher, x_t, draw), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(target, papers_target(teacher, x_t, draw), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_times_are_drawn_from_the_grid_alone(name: str) -> None:
    schedule, num_steps, count = SCHEDULES[name], 4, 4000
    draw = ProgressiveDistillation(num_steps).draw((count, 1, 1, 1), schedule, keyed_generator("cpu", 0))
    assert draw.t.dtype == draw.u.dtype == draw.s.dtype == torch.float32
    fine, coarse = (FlowTimeGrid()(schedule, n) for n in (2 * num_steps, num_steps))
    assert torch.equal(fine[::2], coarse)
    for k in range(num_steps):
        rows = draw.t == coarse[k].float()
        assert abs(rows.sum() - count / num_steps) < 5 * (count / num_steps) ** 0.5
        assert (draw.u[rows] == fine[2 * k + 1].float()).all() and (draw.s[rows] == coarse[k + 1].float()).all()
    flow_times = schedule.exact(coarse).flow_time
    uneven = 2 * (schedule.exact(times(0.002)).flow_time if name in ("linear_200_rescaled",) else 0.01)
    assert ((flow_times.diff() - flow_times.diff().mean()).abs() < uneven).all()
    assert coarse[0] == 1 and coarse[-1] == 0


class Student(GaussianDenoiser):
    """The denoiser that takes in one step of a grid where a teacher's two steps land, and differs from it by two weights."""

    def __init__(self, teacher: Denoiser, num_steps: int) -> None:
        super().__init__(teacher.schedule)
        self.teacher, self.grid = teacher, FlowTimeGrid()(teacher.schedule, 2 * num_steps)
        self.slope = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x_t: Tensor, t: Tensor, cond: Condition | None = None, s: Tensor | None = None) -> Tensor:
        k = (self.grid[::2] - t[:, None]).abs().argmin(1)
        draw = DistillationDraw(self.grid[2 * k], x_t, self.grid[2 * k + 1], self.grid[2 * k + 2])
        return papers_target(self.teacher, x_t, draw) + self.shift + self.slope * x_t


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_gradient_is_zero_at_that_student_and_the_loss_is_higher_elsewhere(name: str) -> None:
    schedule = SCHEDULES[name]
    objective, teacher = ProgressiveDistillation(3), GaussianDenoiser(schedule)
    objective.learn_from(teacher)
    student, draw = Student(teacher, 3), exact_draw(objective, schedule)

    def loss(shift: float, slope: float) -> Tensor:
        with torch.no_grad():
            student.shift.fill_(shift)
            student.slope.fill_(slope)
        student.zero_grad()
        losses = objective.losses(student, student, noise(COUNT, 1), draw)
        losses.mean().backward()
        return losses

    assert loss(0, 0).max() < 1e-20
    assert all(abs(weight.grad) < 1e-9 for weight in (student.shift, student.slope))  # type: ignore[arg-type]
    for shift, slope in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        assert (loss(shift, slope) > 1e-5).all()
        gradients = student.shift.grad, student.slope.grad
        assert shift == 0 or gradients[0].sign() == torch.tensor(shift).sign()  # type: ignore[union-attr]
        assert slope == 0 or gradients[1].sign() == torch.tensor(slope).sign()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["linear", "flow", "edm"])
def test_halving_again_and_again_keeps_the_images_of_the_first_teacher(name: str) -> None:
    schedule = SCHEDULES[name]
    first = GaussianDenoiser(schedule)
    denoiser: Denoiser = first
    for num_steps in (4, 2, 1):
        objective = ProgressiveDistillation(num_steps)
        objective.learn_from(denoiser)
        student = Student(denoiser, num_steps)
        losses = objective.losses(student, student, noise(COUNT, 1), exact_draw(objective, schedule))
        assert losses.max() < 1e-20
        denoiser = student
    x_T = schedule.prior_std * noise()
    ddim = DDIM(eta=0.0, grid=FlowTimeGrid())
    expected = ddim.sample(first, x_T, 8)
    torch.testing.assert_close(ddim.sample(denoiser, x_T, 1), expected, rtol=1e-11, atol=1e-11)
    # the plain denoiser is far from it in one step
    assert (ddim.sample(first, x_T, 1) - expected).abs().max() > 0.05


class Jumping(nn.Module):
    """A network that records the times and second times it is called with."""

    takes_s = True

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, time: Tensor, cond: Any = None, *, s: Tensor) -> Tensor:
        self.calls.append((time / 1000, s / 1000))
        return 0 * x


def test_networks_with_a_second_time_are_told_where_their_steps_end() -> None:
    schedule = SCHEDULES["flow"]
    teacher, student = (Denoiser(Jumping(), schedule, FlowPrediction()) for _ in range(2))
    objective = ProgressiveDistillation(2)
    objective.learn_from(teacher)
    draw = exact_draw(objective, schedule)
    objective.losses(student, student, noise(COUNT), draw)
    assert objective.frozen is not None
    calls = objective.frozen.denoiser.network.calls + student.network.calls  # type: ignore[operator,union-attr]
    for found, expected in zip(calls, ((draw.t, draw.u), (draw.u, draw.s), (draw.t, draw.s)), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def taught(num_steps: int) -> ProgressiveDistillation:
    objective = ProgressiveDistillation(num_steps)
    objective.learn_from(GaussianDenoiser(SCHEDULES["flow"]))
    return objective


def test_refused() -> None:
    student = Denoiser(nn.Identity(), SCHEDULES["linear"], VPrediction())
    with pytest.raises(ValueError, match=r"^num_steps=0: 1 or more"):
        ProgressiveDistillation(0)
    with pytest.raises(
        ValueError, match=r"^num_steps=500: the teacher takes twice as many steps; num_steps=1000: .*timesteps"
    ):
        taught(500).check_training(student)
    taught(64).check_training(student)
    with pytest.raises(ValueError, match=r"^teacher=null: a trained model is needed"):
        ProgressiveDistillation().check_training(student)
