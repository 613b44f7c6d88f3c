"""The objectives beside `DiffusionObjective`: what they compute, against their equations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightdiff.core import (
    Denoiser,
    DiffusionObjective,
    Draw,
    FlowSchedule,
    InputPerturbation,
    LearnedLogVariance,
    MinSNRWeighting,
    VPrediction,
    X0Prediction,
    keyed_generator,
)


class Silent(nn.Module):
    """A network that answers 0 and keeps its input."""

    def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
        self.x = x
        return torch.zeros_like(x)


SHAPE = (6, 2, 4, 4)


def x0_and_draw(objective: DiffusionObjective) -> tuple[Tensor, Draw]:
    x0 = torch.randn(SHAPE, generator=keyed_generator("cpu", "x0"))
    return x0, objective.draw(SHAPE, FlowSchedule(), keyed_generator("cpu", "draw"))


def test_rows_of_a_draw_are_what_a_process_computes_alone() -> None:
    objective = InputPerturbation(0.3)
    x0, draw = x0_and_draw(objective)
    denoiser = Denoiser(Silent(), FlowSchedule(), VPrediction())
    whole = objective.losses(denoiser, denoiser, x0, draw)
    for rank in range(2):
        rows = slice(rank, None, 2)
        assert torch.equal(objective.losses(denoiser, denoiser, x0[rows], draw.rows(rows)), whole[rows])


def test_perturbed_input_and_unperturbed_target() -> None:
    objective = InputPerturbation(gamma=0.3)
    x0, draw = x0_and_draw(objective)
    network = Silent()
    denoiser = Denoiser(network, FlowSchedule(), VPrediction())
    losses = objective.losses(denoiser, denoiser, x0, draw)
    t = draw.t[:, None, None, None]
    xi = draw.perturbation  # type: ignore[attr-defined]
    torch.testing.assert_close(network.x, (1 - t) * x0 + t * (draw.noise + 0.3 * xi))
    target = (1 - t) * draw.noise - t * x0
    torch.testing.assert_close(losses, target.square().mean((1, 2, 3)))
    assert abs((xi * draw.noise).mean()) < 0.3, "the second noise is another one"


def test_without_a_perturbation_nothing_changes() -> None:
    plain, perturbed = DiffusionObjective(), InputPerturbation(gamma=0)
    denoiser = Denoiser(Silent(), FlowSchedule(), VPrediction())
    losses = [
        objective(denoiser, torch.ones(SHAPE), generator=keyed_generator("cpu", 1)) for objective in (plain, perturbed)
    ]
    assert torch.equal(*losses)


def test_the_learned_log_variance_begins_as_the_plain_loss_and_follows_its_equation() -> None:
    torch.manual_seed(0)
    plain, learned = DiffusionObjective(MinSNRWeighting()), LearnedLogVariance(16, MinSNRWeighting())
    x0, draw = x0_and_draw(plain)
    denoiser = Denoiser(Silent(), FlowSchedule(), VPrediction())
    expected = plain.losses(denoiser, denoiser, x0, draw)
    assert torch.equal(learned.losses(denoiser, denoiser, x0, draw), expected)
    nn.init.normal_(learned.log_variance.weight)
    level = (draw.t / (1 - draw.t)).double().log() / 4
    features = 2**0.5 * torch.cos(level[:, None] * learned.frequencies.double() + learned.phases.double())
    u = features @ learned.log_variance.weight[0].double() / 16**0.5
    assert u.abs().min() > 0.01
    torch.testing.assert_close(
        learned.losses(denoiser, denoiser, x0, draw).double(), expected.double() / u.exp() + u, rtol=1e-4, atol=1e-4
    )


def test_the_learned_log_variance_becomes_the_logarithm_of_the_loss() -> None:
    """The minimum of L / exp(u) + u is u = log L, here at L = 0.25 where t < 1/2 and 4 where t > 1/2."""
    torch.manual_seed(0)

    class Answer(nn.Module):
        def forward(self, x: Tensor, time: Tensor, cond: Any = None) -> Tensor:
            return torch.where(time < 500, 0.5, 2.0)[:, None, None, None].expand(x.shape)

    objective, denoiser = LearnedLogVariance(), Denoiser(Answer(), FlowSchedule(), X0Prediction())
    optimizer, generator = torch.optim.Adam(objective.parameters(), lr=0.1), keyed_generator("cpu", 0)
    for _ in range(300):
        optimizer.zero_grad()
        objective(denoiser, torch.zeros(256, 1, 1, 1), generator=generator).mean().backward()
        optimizer.step()
    found = objective.u(FlowSchedule()(torch.tensor([0.1, 0.25, 0.75, 0.9])))
    expected = torch.tensor([0.25, 0.25, 4.0, 4.0]).log()
    torch.testing.assert_close(found, expected, atol=0.35, rtol=0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: InputPerturbation(gamma=-0.1), r"gamma=-0\.1: 0 or more is expected"),
        (lambda: LearnedLogVariance(features=0), "features=0: 1 or more is expected"),
    ],
)
def test_impossible_settings_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
