"""A flow map from scratch: when the model becomes its teacher, what it learns before and after, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch

from lightdiff.conditioning import LabelConditioner
from lightdiff.core import (
    MSE,
    Denoiser,
    DiffusionObjective,
    FlowMapObjective,
    FlowPrediction,
    FlowSchedule,
    SelfTaughtFlowMap,
    keyed_generator,
)
from lightdiff.networks import UNet

SHAPE = (4, 1, 16, 16)
LABELS, KEPT = torch.tensor([0, 1, 1, 0]), torch.zeros(4, dtype=torch.bool)


def small_denoiser(seed: int = 0, drop_prob: float = 0.1) -> Denoiser:
    torch.manual_seed(seed)
    network = UNet(channels=1, image_size=16, widths=[8, 8, 8, 8], num_heads=2, cond_dim=4, takes_s=True)
    return Denoiser(network, FlowSchedule(), FlowPrediction(), LabelConditioner(2, 4, drop_prob))


def batch(objective: FlowMapObjective) -> tuple[torch.Tensor, object]:
    x0 = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    draw = objective.draw(SHAPE, FlowSchedule(), keyed_generator("cpu", "test", 0))
    return x0, objective.conditioned(draw, LABELS, KEPT)


def losses(objective: FlowMapObjective, denoiser: Denoiser, average: Denoiser, progress: float) -> torch.Tensor:
    x0, draw = batch(objective)
    assert denoiser.conditioner is not None
    return objective.losses(denoiser, average, x0, draw, denoiser.conditioner(LABELS), progress)  # type: ignore[arg-type]


def test_at_first_the_loss_is_that_of_ordinary_training() -> None:
    objective, denoiser = SelfTaughtFlowMap(share_alone=0.5, guidance_scale=2.0), small_denoiser()
    x0, draw = batch(objective)
    assert denoiser.conditioner is not None
    expected = DiffusionObjective(distance=MSE()).losses(denoiser, denoiser, x0, draw, denoiser.conditioner(LABELS))  # type: ignore[arg-type]
    assert torch.equal(losses(objective, denoiser, denoiser, 0.49), expected)
    assert objective.frozen is None


def test_then_it_is_that_of_a_flow_map_whose_teacher_is_the_average_of_that_moment() -> None:
    objective, denoiser, average = (
        SelfTaughtFlowMap(share_alone=0.5, guidance_scale=2.0),
        small_denoiser(0),
        small_denoiser(1),
    )
    losses(objective, denoiser, average, 0.5)
    other = FlowMapObjective(share_at_t=0.0, share_at_0=0.5, guidance_scale=2.0)
    other.learn_from(copy.deepcopy(average))
    with torch.no_grad():
        for weight in average.parameters():
            weight.mul_(1.5)
    # the stages of the rule begin when there is a teacher: the middle of the second half is the middle of them
    assert torch.equal(losses(objective, denoiser, average, 0.75), losses(other, denoiser, average, 0.5))
    assert not torch.equal(losses(objective, denoiser, average, 0.75), losses(other, denoiser, average, 0.0))


def test_validation_makes_no_teacher() -> None:
    objective, denoiser = SelfTaughtFlowMap(share_alone=0.5), small_denoiser()
    losses(objective, denoiser.eval(), denoiser, 0.9)
    assert objective.frozen is None


@pytest.mark.parametrize("begun", [False, True])
def test_the_teacher_lies_in_the_state_and_goes_on_from_there(begun: bool) -> None:
    objective, denoiser = SelfTaughtFlowMap(share_alone=0.5, guidance_scale=2.0), small_denoiser()
    losses(objective, denoiser, small_denoiser(1), 0.6 if begun else 0.4)
    state = objective.state_dict()
    assert bool(state) == begun
    resumed = SelfTaughtFlowMap(share_alone=0.5, guidance_scale=2.0)
    resumed.load_state_dict(state)
    assert resumed.state_dict().keys() == state.keys()
    resumed.check_training(denoiser)
    # with another average, which would be another teacher
    found = [losses(each, denoiser, small_denoiser(2), 0.8) for each in (objective, resumed)]
    assert torch.equal(*found)
    assert (resumed.frozen is not None) and list(resumed.parameters()) == []


def test_a_foreign_name_in_the_state_is_still_refused() -> None:
    with pytest.raises(RuntimeError, match="Unexpected key"):
        SelfTaughtFlowMap().load_state_dict({"another.weight": torch.zeros(1)})


def test_refused() -> None:
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"^share_alone={share}: a number above 0 and below 1"):
            SelfTaughtFlowMap(share_alone=share)
    with pytest.raises(ValueError, match=r"^guidance_scale=2.0: the model becomes its own teacher"):
        SelfTaughtFlowMap(guidance_scale=2.0).check_training(small_denoiser(drop_prob=0.0))
    SelfTaughtFlowMap().check_training(small_denoiser(drop_prob=0.0))
