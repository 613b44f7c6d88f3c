"""Jumps: the step of DDIM, two jumps that make one, and flow time and its inverse, on every schedule."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest
import torch
from torch import Tensor

from lightdiff.core import Scales, first_share, joined, jump
from lightdiff.samplers import DDIM
from oracles import SCHEDULES, gaussian_data, gaussian_flow_map, noise, times

TIMES = (0.0, 0.003, 0.25, 0.5, 0.8, 1.0)
"""Times of the jumps; at t = 1 alpha is 0 on two of the schedules, and at 0.003 a discrete one is between two timesteps."""


def each(value: float) -> Tensor:
    return times(*[value] * 4)


def by_its_equation(x_t: Tensor, x0_hat: Tensor, at_t: Scales, at_s: Scales) -> Tensor:
    at_t, at_s = at_t.per_image(x_t), at_s.per_image(x_t)
    return at_s.alpha * x0_hat + at_s.sigma * (x_t - at_t.alpha * x0_hat) / at_t.sigma


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_a_jump_is_the_step_of_ddim(name: str) -> None:
    schedule, x_t, x0_hat = SCHEDULES[name], noise(seed=1), noise(seed=2)
    for s, t in combinations_with_replacement(TIMES[1:], 2):
        x_s = jump(x_t, x0_hat, schedule.exact(each(t)), schedule.exact(each(s)))
        assert torch.equal(x_s, DDIM().step(schedule, x_t, x0_hat, each(t), each(s)))
        # an independent form of it
        expected = by_its_equation(x_t, x0_hat, schedule.exact(each(t)), schedule.exact(each(s)))
        torch.testing.assert_close(x_s, expected, rtol=1e-12, atol=1e-12)
        # the straight line of y = x / (alpha + sigma) in flow time
        at_t, at_s = (schedule.exact(each(time)).per_image(x_t) for time in (t, s))
        share = at_s.flow_time / at_t.flow_time
        line = share * x_t / (at_t.alpha + at_t.sigma) + (1 - share) * x0_hat
        torch.testing.assert_close(x_s / (at_s.alpha + at_s.sigma), line, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_the_ends_of_a_jump(name: str) -> None:
    schedule, x_t, x0_hat = SCHEDULES[name], noise(seed=1), noise(seed=2)
    for t in TIMES:
        at_t = schedule.exact(each(t))
        assert torch.equal(jump(x_t, x0_hat, at_t, at_t), x_t), "no jump at all"
    for t in TIMES[1:]:
        at_t, at_0 = schedule.exact(each(t)), schedule.exact(each(0.0))
        torch.testing.assert_close(jump(x_t, x0_hat, at_t, at_0), x0_hat, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_two_jumps_are_one(name: str) -> None:
    """On 56 triples s <= u <= t, the ends among them: where t = 0 there is no jump."""
    schedule = SCHEDULES[name]
    x_t, first, second = noise(seed=1), noise(seed=2), noise(seed=3)
    for s, u, t in combinations_with_replacement(TIMES, 3):
        at_t, at_u, at_s = (schedule.exact(each(time)) for time in (t, u, s))
        share = first_share(at_t.flow_time, at_u.flow_time, at_s.flow_time)
        assert ((share >= 0) & (share <= 1)).all()
        x_s = jump(x_t, joined(first, second, share), at_t, at_s)
        # a jump from the image to the image leads nowhere
        x_u = jump(x_t, first, at_t, at_u)
        expected = jump(x_u, second, at_u, at_s)
        size = expected.abs().max().item()
        torch.testing.assert_close(x_s, expected, rtol=0, atol=1e-12 * max(1.0, size), msg=f"{s} {u} {t}")


@pytest.mark.parametrize(
    ("s", "u", "t", "expected"),
    [
        (0.0, 0.4, 0.8, 0.0),
        (0.3, 0.8, 0.8, 0.0),
        (0.3, 0.3, 0.8, 1.0),
        (0.0, 0.0, 0.8, 1.0),
        (0.8, 0.8, 0.8, 1.0),
        (0.0, 0.0, 0.0, 1.0),
    ],
)
def test_the_share_at_the_ends(s: float, u: float, t: float, expected: float) -> None:
    assert first_share(times(t), times(u), times(s)).item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_the_exact_flow_map_is_joined_of_its_parts(name: str) -> None:
    flow_map = gaussian_flow_map(SCHEDULES[name])
    schedule, data = flow_map.schedule, gaussian_data(flow_map.schedule)
    s, u, t = each(0.2), each(0.55), each(1.0)
    x_t = schedule.prior_std * noise()
    first = flow_map(x_t, t, None, u)
    x_u = jump(x_t, first, schedule.exact(t), schedule.exact(u))
    torch.testing.assert_close(x_u, data.flow(x_t, 1.0, 0.55), rtol=1e-12, atol=1e-12)
    share = first_share(*(schedule.exact(time).flow_time for time in (t, u, s)))
    whole = joined(first, flow_map(x_u, u, None, s), share)
    torch.testing.assert_close(whole, flow_map(x_t, t, None, s), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_flow_time_and_its_inverse(name: str) -> None:
    schedule = SCHEDULES[name]
    t = torch.cat([times(*TIMES), torch.linspace(0, 1, 997, dtype=torch.float64)])
    flow_time = schedule.exact(t).flow_time
    torch.testing.assert_close(schedule.t_from_flow_time(flow_time), t, rtol=0, atol=1e-12)
    assert (flow_time[len(TIMES) :].diff() > 0).all()
    tau = flow_time.max() * torch.linspace(0, 1, 997, dtype=torch.float64)
    back = schedule.exact(schedule.t_from_flow_time(tau)).flow_time
    torch.testing.assert_close(back, tau, rtol=0, atol=1e-12)
    assert schedule.t_from_flow_time(times(0.0)).item() == 0
    assert schedule.exact(times(0.0)).flow_time.item() == 0
    if schedule.alpha(times(1.0)) == 0:
        assert schedule.exact(times(1.0)).flow_time.item() == 1
        assert schedule.t_from_flow_time(times(1.0)).item() == pytest.approx(1, abs=1e-12)
    # the type is kept
    assert schedule.t_from_flow_time(tau.float()).dtype == torch.float32
