"""The settings of consistency training: the stages of the ratio, and what is refused."""

from __future__ import annotations

import pytest
import torch

from consistency_parts import KEEPING, PREDICTIONS, Curve, T
from lightdiff.config.build import build_model
from lightdiff.config.instantiate import ConfigError
from lightdiff.core import (
    ConsistencyObjective,
    Denoiser,
    DiffusionObjective,
    Draw,
    EDMPrediction,
    FlowSchedule,
    VPrediction,
    X0Prediction,
)
from lightdiff.core.consistency import keeps_images
from oracles import SCHEDULES, noise
from runs import tiny


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
