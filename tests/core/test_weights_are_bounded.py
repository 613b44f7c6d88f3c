"""Weighting x schedule x prediction: the weights of the loss are bounded at all times, or the pair is refused by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightdiff.config.build import build_model
from lightdiff.config.instantiate import ConfigError, instantiate
from lightdiff.core import (
    DefaultTime,
    DiffusionObjective,
    EDMSchedule,
    EDMWeighting,
    NoiseSchedule,
    Prediction,
    Weighting,
    keyed_generator,
)
from lightdiff.model import DiffusionModel
from runs import ROOT, composed


def members(group: str) -> dict[str, object]:
    """Every choice of a group of conf/, built."""
    top, _, part = group.partition("/")
    names = sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
    configs = {name: composed(f"{group}={name}")[top] for name in names}
    return {name: instantiate(config[part] if part else config, key=group) for name, config in configs.items()}


SCHEDULES, PREDICTIONS, WEIGHTINGS = map(members, ("schedule", "objective/prediction", "objective/weighting"))
DISCRETE = ("linear", "scaled_linear", "cosine", "sigmoid")
SMALL = 6.2
"""Bound of the weight of every pair that is accepted, except for the next ones. It is reached by v with edm on flow."""
BOUNDS = {("x0", "snr"): 2.5e4, ("x0", "edm"): 2.5e4, ("x0", "truncated_snr"): 2.5e4}
"""With timesteps, SNR is at most that of the first timestep."""
REFUSED = {
    *(
        (schedule, "epsilon", weighting)
        for schedule in (*DISCRETE, "edm", "flow")
        for weighting in ("edm", "truncated_snr")
    ),
    *((schedule, "x0", weighting) for schedule in ("flow", "edm") for weighting in ("snr", "edm", "truncated_snr")),
}


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_weights_are_bounded_or_refused(schedule: str, prediction: str, weighting: str) -> None:
    noise_schedule: NoiseSchedule = SCHEDULES[schedule]  # type: ignore[assignment]
    predicts: Prediction = PREDICTIONS[prediction]  # type: ignore[assignment]
    weigh: Weighting = WEIGHTINGS[weighting]  # type: ignore[assignment]
    try:
        # a denoiser of the pairs that no denoiser takes is needed here too
        denoiser = SimpleNamespace(prediction=predicts, schedule=noise_schedule)
        DiffusionObjective(weigh).check_training(denoiser)  # type: ignore[arg-type]
    except ValueError as error:
        assert (schedule, prediction, weighting) in REFUSED, error
        assert f"weighting={type(weigh).__name__}: with prediction={type(predicts).__name__} " in str(error)
        assert "\n" not in str(error)
        return
    assert (schedule, prediction, weighting) not in REFUSED
    drawn = DefaultTime()(50_000, noise_schedule, generator=keyed_generator("cpu", "weights")).double()
    ends = noise_schedule.snap(torch.tensor([0.0, 1e-9, 1e-6, 1e-3, 1 - 1e-9, 1.0], dtype=torch.float64))
    t = torch.cat([drawn, ends])
    weights = weigh(noise_schedule(t), predicts)
    assert weights.max() <= BOUNDS.get((prediction, weighting), SMALL)
    # the mean is also far from the bound, so that no rare time decides the loss
    assert weights[: len(drawn)].mean() < 100


def test_the_command_line_names_the_pair() -> None:
    with pytest.raises(
        ConfigError, match=r"^objective\.weighting=EDMWeighting: with prediction=EpsilonPrediction .* 1\.6e\+09"
    ):
        build_model(composed("model=unet_small", "schedule=cosine", "objective/weighting=edm"))


def test_a_trained_model_of_a_refused_pair_can_still_be_built() -> None:
    """It can be loaded and sampled, and is refused when training starts."""
    network = nn.Conv2d(1, 1, 1)
    model = DiffusionModel(network, EDMSchedule(), DiffusionObjective(EDMWeighting()), image_shape=(1, 8, 8))
    with pytest.raises(ValueError, match="weighting=EDMWeighting"):
        model.configure_optimizers()
