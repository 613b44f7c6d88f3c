"""The losses of consistency training while it runs: gradients, processes, dropout, random numbers, types of numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from consistency_parts import Curve, Kept, T
from lightdiff.core import (
    ConsistencyObjective,
    Denoiser,
    DiffusionObjective,
    Draw,
    FlowPrediction,
    FlowSchedule,
    VPrediction,
    keyed_generator,
)
from oracles import SCHEDULES, noise


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
