"""Where the posterior is known (Gaussian images): who reaches it, and how far off the others are."""

from __future__ import annotations

from functools import partial

import pytest
from torch import Tensor

from gaussian_posterior import (
    BIASED,
    EXACT,
    NOISE_STD,
    SHAPE,
    STD,
    bias,
    correlated,
    measured,
    moments_of_affine,
    white,
)
from lightdiff.core import NoiseSchedule
from lightdiff.inverse import CompressedSensing, LinearOperator, PiGDM, SuperResolution
from lightdiff.samplers import DDIM
from oracles import SCHEDULES

OPERATORS: dict[str, LinearOperator] = {
    "super_resolution": SuperResolution(SHAPE, 2),
    "compressed_sensing": CompressedSensing(SHAPE, 0.5),
}


def errors(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Largest error of an entry of the mean, and of the covariance."""
    mean, cov = ((a - b).abs().max().item() for a, b in zip(found, exact, strict=True))
    return mean, cov


@pytest.mark.parametrize("schedule", ["flow", "cosine", "linear", "linear_zero_snr", "edm"])
@pytest.mark.parametrize("operator", list(OPERATORS))
@pytest.mark.parametrize("method", ["pigdm of white images", "moment matching of correlated images"])
def test_with_the_exact_covariance_the_posterior_is_reached(method: str, operator: str, schedule: str) -> None:
    if method.startswith("pigdm"):
        data = white(SCHEDULES[schedule], STD)
        make = partial(PiGDM, data_std=STD, smallest_ratio=0.0)
    else:
        data, make = correlated(SCHEDULES[schedule]), EXACT
    operation = OPERATORS[operator]
    y = measured(data, operation)
    exact = data.posterior(operation, y, NOISE_STD)
    denoiser = make(data, operation, y, NOISE_STD)
    few, many = (errors(moments_of_affine(DDIM(), denoiser, num_steps), exact) for num_steps in (20, 80))
    # at EDM's highest level of noise, 80, x_T still says a little about the image, as it does at the end of a linear schedule
    assert many[0] < 0.01 and many[1] < 0.025
    # DDIM is a method of first order
    assert many[1] < 0.4 * few[1]
    # without the measurement both are far off
    alone = errors(moments_of_affine(DDIM(), data, 80), exact)
    assert alone[0] > 0.2 and alone[1] > 0.06


@pytest.mark.slow
@pytest.mark.parametrize("operator", list(OPERATORS))
def test_many_steps_come_as_close_as_wanted(operator: str) -> None:
    data, operation = correlated(SCHEDULES["flow"]), OPERATORS[operator]
    y = measured(data, operation)
    exact, denoiser = data.posterior(operation, y, NOISE_STD), EXACT(data, operation, y, NOISE_STD)
    few, many = (errors(moments_of_affine(DDIM(), denoiser, num_steps), exact) for num_steps in (80, 1280))
    assert many[0] < 4e-4 and many[1] < 1e-3
    # DDIM is of first order: sixteen times the steps leave about a sixteenth of each error
    assert many[0] < few[0] / 14 and many[1] < few[1] / 14


def test_the_bias_of_the_others_is_what_the_page_says() -> None:
    """The table of docs/inverse.md: error of the mean, and share of the posterior's variance."""
    table = {name: bias(make, sampler, 40, 1000) for name, (make, sampler) in BIASED.items()}
    expected = {
        "moment matching, ddim": (0.0, 0.9),
        "PiGDM, ddim": (0.076, 0.94),
        "DPS, ddim": (0.33, 1.15),
        "DiffPIR, ddim": (0.31, 0.94),
        "DiffPIR, renoise": (0.08, 0.45),
    }
    for name, (mean, variance) in expected.items():
        assert table[name] == pytest.approx((mean, variance), abs=0.06), name


def test_more_steps_do_not_take_away_the_bias_of_dps() -> None:
    few, many = (bias(*BIASED["DPS, ddim"], num_steps, 200)[0] for num_steps in (40, 160))
    assert many > 0.9 * few > 0.2


def test_strength_above_1_narrows_the_draws() -> None:
    data, operation = white(SCHEDULES["flow"], STD), OPERATORS["super_resolution"]
    y = measured(data, operation)
    make = partial(PiGDM, data, operation, y, NOISE_STD, data_std=STD, smallest_ratio=0.0)
    _, cov = data.posterior(operation, y, NOISE_STD)
    plain, strong = (moments_of_affine(DDIM(), make(strength=strength), 80)[1].trace() for strength in (1.0, 3.0))
    assert strong < 0.98 * plain and plain.item() == pytest.approx(cov.trace().item(), rel=0.05)


def test_the_schedule_does_not_matter() -> None:
    """The same path in sigma / alpha gives the same moments, but for where it begins."""

    def moments(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
        data, operation = correlated(schedule), OPERATORS["compressed_sensing"]
        return moments_of_affine(DDIM(), EXACT(data, operation, measured(data, operation), NOISE_STD), 80)

    mean, cov = errors(moments(SCHEDULES["flow"]), moments(SCHEDULES["cosine"]))
    assert mean < 0.01 and cov < 0.02
