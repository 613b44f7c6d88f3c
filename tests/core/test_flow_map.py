"""Flow maps: the times that are drawn, the losses they share with other objectives, and the settings that are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from flow_map_parts import RULES, Ignoring, random_denoiser
from lightdiff.core import (
    MSE,
    ConsistencyObjective,
    Denoiser,
    DiffusionObjective,
    DiscreteRule,
    DiscreteSchedule,
    FlowMapObjective,
    FlowSchedule,
    JumpDraw,
    MeanFlowRule,
    NoiseSchedule,
    ShortcutRule,
    VPrediction,
    keyed_generator,
)
from oracles import DISCRETE, SCHEDULES


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_times_that_are_drawn(schedule: str) -> None:
    noise_schedule, shape = SCHEDULES[schedule], (20_000, 1, 1, 1)
    draw = FlowMapObjective(share_at_t=0.2, share_at_0=0.3).draw(shape, noise_schedule, keyed_generator("cpu", 0))
    ordinary = DiffusionObjective().draw(shape, noise_schedule, keyed_generator("cpu", 0))
    assert torch.equal(draw.t, ordinary.t) and torch.equal(draw.noise, ordinary.noise)
    assert draw.s.dtype == draw.t.dtype and ((draw.s >= 0) & (draw.s <= draw.t)).all()
    at_t, at_0 = draw.s == draw.t, draw.s == 0
    assert at_t.float().mean() == pytest.approx(0.2, abs=0.01) and at_0.float().mean() == pytest.approx(0.3, abs=0.01)
    between = ~(at_t | at_0)
    part = noise_schedule.exact(draw.s).flow_time / noise_schedule.exact(draw.t).flow_time
    uniform = torch.linspace(0, 1, int(between.sum()), dtype=torch.float64)
    assert (part[between].sort().values - uniform).abs().max() < 0.03
    if schedule in DISCRETE:
        steps = noise_schedule.num_train_timesteps * draw.s[between]  # type: ignore[attr-defined]
        assert ((steps - steps.round()).abs() > 1e-3).float().mean() > 0.9, "s is not rounded to timesteps"
    rows = draw.rows(slice(1, None, 2))
    assert isinstance(rows, JumpDraw) and torch.equal(rows.s, draw.s[1::2])


@pytest.mark.parametrize("schedule", ["flow", "edm", "linear"])
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_with_s_at_0_the_discrete_rule_is_consistency_training(schedule: str, progress: float) -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(Ignoring(), SCHEDULES[schedule], VPrediction())
    x0 = torch.randn(6, 1, 4, 4)
    losses = []
    ratios = (0.0, 0.5, 0.75)
    for objective in (FlowMapObjective(DiscreteRule(ratios), share_at_t=0, share_at_0=1), ConsistencyObjective(ratios)):
        draw = objective.draw(x0.shape, denoiser.schedule, keyed_generator("cpu", 3))
        torch.manual_seed(1)
        losses.append(objective.losses(denoiser, denoiser, x0, draw, progress=progress))
    assert torch.equal(*losses)
    assert losses[0].min() > 1e-4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", ["flow", "edm", "cosine"])
def test_with_s_at_t_the_loss_is_the_ordinary_one(schedule: str, rule: str) -> None:
    denoiser = random_denoiser("dit", schedule, "v")
    x0 = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    flow_map, ordinary = FlowMapObjective(RULES[rule], share_at_t=1, share_at_0=0, distance=MSE()), DiffusionObjective()
    losses = []
    for objective in (flow_map, ordinary):
        draw = objective.draw(x0.shape, denoiser.schedule, keyed_generator("cpu", 3), x0.dtype)
        losses.append(objective.losses(denoiser, denoiser, x0, draw, progress=1.0))
    torch.testing.assert_close(*losses, rtol=1e-8, atol=0)


class NoInverse(FlowSchedule):
    _time_of = NoiseSchedule._time_of


@pytest.mark.parametrize(
    ("objective", "denoiser", "message"),
    [
        (
            FlowMapObjective(),
            Denoiser(nn.Identity(), FlowSchedule(), VPrediction()),
            r"model\.takes_s=false: .* Identity .* choices: model\.takes_s=true with model=unet, resunet or dit",
        ),
        (
            FlowMapObjective(MeanFlowRule()),
            Denoiser(Ignoring(), SCHEDULES["cosine"], VPrediction()),
            r"time_input=timestep: objective\.rule=mean_flow .*; choices: t, log_sigma",
        ),
        (
            FlowMapObjective(),
            Denoiser(Ignoring(), NoInverse(), VPrediction()),
            r"objective=flow_map: it needs a schedule with an inverse \(t_from_log_snr\), which NoInverse .*; choices: .*",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    objective: FlowMapObjective, denoiser: Denoiser, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        objective.check_training(denoiser)
    # what is trained already can still be built
    objective.check(denoiser.prediction, denoiser.schedule)


@pytest.mark.parametrize("rule", ["discrete", "shortcut"])
def test_rules_without_a_derivative_take_timesteps(rule: str) -> None:
    assert isinstance(SCHEDULES["linear"], DiscreteSchedule)
    FlowMapObjective(RULES[rule]).check_training(Denoiser(Ignoring(), SCHEDULES["linear"], VPrediction()))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FlowMapObjective(share_at_t=-0.1), r"share_at_t=-0\.1: a number from 0 to 1 is expected"),
        (
            lambda: FlowMapObjective(ShortcutRule(), share_at_t=0),
            "share_at_t=0: ShortcutRule learns .* above 0 is expected",
        ),
        (lambda: FlowMapObjective(share_at_t=0.75, share_at_0=0.5), r"share_at_0=0\.5: .* 1 - share_at_t = 0\.25 is"),
        (lambda: DiscreteRule(()), r"ratios=\[\]: numbers from 0 to below 1 that rise are expected"),
        (lambda: DiscreteRule((0.5, 0.25)), r"ratios=\[0\.5, 0\.25\]: numbers"),
        (lambda: DiscreteRule((0.5, 1.0)), r"ratios=\[0\.5, 1\.0\]: numbers"),
    ],
)
def test_impossible_settings_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
