"""Learning rates by step against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from lightdiff.model import Constant, Cosine, Linear


def rates(schedule: Constant, steps: int, lr: float = 2.0) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = schedule(optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_constant_warms_up_from_above_zero() -> None:
    assert rates(Constant(warmup_steps=3), 6) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])


def test_cosine_ends_at_its_final_factor() -> None:
    seen = rates(Cosine(warmup_steps=0, final_factor=0.1), 10)
    expected = [2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * i / 10))) for i in range(10)]
    assert seen == pytest.approx(expected)


def test_linear_falls_on_a_straight_line_after_the_warm_up() -> None:
    seen = rates(Linear(warmup_steps=2), 10)
    assert seen[2:] == pytest.approx([2.0 * (1 - i / 8) for i in range(8)])


def test_nothing_of_it_is_stored_so_that_an_extended_run_gets_the_longer_schedule() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    state = Cosine()(optimizer, 10).state_dict()
    assert all(entry is None for entry in state["lr_lambdas"])


def test_negative_warm_up_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps=-1"):
        Cosine(warmup_steps=-1)
