"""Predictions: to_x0 inverts target, all predictions agree on x0_hat, and a weighting means the same loss for each of them."""

from __future__ import annotations

import pytest
import torch

from lightdiff.core import (
    EDMPrediction,
    EDMWeighting,
    EpsilonPrediction,
    FlowPrediction,
    MinSNRWeighting,
    P2Weighting,
    Prediction,
    Scales,
    SNRWeighting,
    TruncatedSNRWeighting,
    UnitWeighting,
    VPrediction,
    X0Prediction,
)
from oracles import SCHEDULES, noise, times

PREDICTIONS: dict[str, Prediction] = {
    "epsilon": EpsilonPrediction(),
    "x0": X0Prediction(),
    "v": VPrediction(),
    "flow": FlowPrediction(),
    "edm": EDMPrediction(0.5),
}
T_INNER = torch.linspace(0.001, 1, 500, dtype=torch.float64)


def setting(name: str, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return x0, noise, x_t (B, 1, 2, 3) and alpha, sigma (B, 1, 1, 1) of a schedule."""
    schedule = SCHEDULES[name]
    x0, eps = noise(len(t), seed=1), noise(len(t), seed=2)
    alpha, sigma = schedule.alpha(t)[:, None, None, None], schedule.sigma(t)[:, None, None, None]
    return x0, eps, alpha * x0 + sigma * eps, alpha, sigma


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("name", list(PREDICTIONS))
def test_target_leads_back_to_x0(name: str, schedule: str) -> None:
    t = torch.cat([times(0.0), T_INNER])
    x0, eps, x_t, alpha, sigma = setting(schedule, t)
    prediction = PREDICTIONS[name]
    x0_hat = prediction.to_x0(prediction.target(x0, eps, alpha, sigma), x_t, alpha, sigma)
    error = (x0_hat - x0).abs()
    if name == "epsilon":
        possible = alpha.flatten() > 0
        assert (error * alpha)[possible].max() < 1e-12 * max(1.0, sigma.max().item())
    else:
        assert error.max() < 1e-12 * max(1.0, sigma.max().item())


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_all_agree_on_x0_hat(schedule: str) -> None:
    """The outputs are computed here from one estimate of x0 and x_t; every prediction must return that estimate."""
    t = T_INNER[T_INNER < 0.99]
    _, _, x_t, alpha, sigma = setting(schedule, t)
    guess = noise(len(t), seed=3)
    eps_hat = (x_t - alpha * guess) / sigma
    n = (alpha**2 * 0.25 + sigma**2).sqrt()
    outputs = {
        "epsilon": eps_hat,
        "x0": guess,
        "v": alpha * eps_hat - sigma * guess,
        "flow": eps_hat - guess,
        "edm": (guess - alpha * 0.25 / n**2 * x_t) / (sigma * 0.5 / n),
    }
    for name, output in outputs.items():
        x0_hat = PREDICTIONS[name].to_x0(output, x_t, alpha, sigma)
        torch.testing.assert_close(x0_hat, guess, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "flow", "edm"])
@pytest.mark.parametrize("name", list(PREDICTIONS))
def test_x0_weight_turns_the_error_of_x0_into_that_of_the_output(name: str, schedule: str) -> None:
    t = torch.linspace(0.01, 0.98, 50, dtype=torch.float64)
    x0, eps, x_t, alpha, sigma = setting(schedule, t)
    prediction = PREDICTIONS[name]
    target = prediction.target(x0, eps, alpha, sigma)
    output = target + 0.1 * noise(len(t), seed=4)
    output_error = (output - target).square().flatten(1).mean(1)
    x0_error = (prediction.to_x0(output, x_t, alpha, sigma) - x0).square().flatten(1).mean(1)
    weight = prediction.x0_weight(Scales(alpha, sigma)).flatten()
    torch.testing.assert_close(output_error, weight * x0_error, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "weighting",
    [
        SNRWeighting(),
        TruncatedSNRWeighting(),
        MinSNRWeighting(5.0),
        P2Weighting(),
        P2Weighting(0.5, 2.0),
        EDMWeighting(0.5),
    ],
    ids=lambda w: type(w).__name__,
)
def test_a_weighting_means_the_same_loss_in_every_space(weighting: object) -> None:
    t = torch.linspace(0.01, 0.98, 50, dtype=torch.float64)
    x0, eps, x_t, alpha, sigma = setting("cosine", t)
    guess = x0 + 0.1 * noise(len(t), seed=5)
    losses = []
    for prediction in PREDICTIONS.values():
        guessed_noise = (x_t - alpha * guess) / sigma
        output = prediction.target(guess, guessed_noise, alpha, sigma)
        error = (output - prediction.target(x0, eps, alpha, sigma)).square().flatten(1).mean(1)
        losses.append(weighting(Scales(alpha.flatten(), sigma.flatten()), prediction) * error)  # type: ignore[operator]
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], rtol=1e-6, atol=0)


def test_weights_have_their_papers_values() -> None:
    """Compare with the published weights for alpha^2 + sigma^2 = 1. For v, min-SNR is min(SNR, gamma) / (SNR + 1)."""
    snr = torch.logspace(-3, 3, 50, dtype=torch.float64)
    alpha, sigma = (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()
    least = torch.minimum(snr, torch.tensor(5.0, dtype=torch.float64))
    expected = {"epsilon": least / snr, "x0": least, "v": least / (snr + 1)}
    for name, value in expected.items():
        torch.testing.assert_close(MinSNRWeighting(5.0)(Scales(alpha, sigma), PREDICTIONS[name]), value)
    torch.testing.assert_close(SNRWeighting()(Scales(alpha, sigma), PREDICTIONS["epsilon"]), torch.ones_like(snr))
    # the loss of truncated SNR is the larger one of the squared errors of x0_hat and of the noise
    truncated = {
        "x0": torch.maximum(snr, torch.ones_like(snr)),
        "epsilon": torch.maximum(1 / snr, torch.ones_like(snr)),
    }
    for name, value in truncated.items():
        torch.testing.assert_close(TruncatedSNRWeighting()(Scales(alpha, sigma), PREDICTIONS[name]), value)
    # EDM's weight (s^2 + sd^2) / (s sd)^2 on x0_hat is the weight 1 on the network's output
    s = sigma / alpha
    torch.testing.assert_close(EDMWeighting(0.5)(Scales(alpha, sigma), X0Prediction()), (s**2 + 0.25) / (s * 0.5) ** 2)
    one = torch.ones_like(s)
    torch.testing.assert_close(EDMWeighting(0.5)(Scales(one, s), EDMPrediction(0.5)), one)


@pytest.mark.parametrize("k", [1.0, 0.3])
@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.0])
def test_p2_divides_the_weight_of_ddpm(k: float, gamma: float) -> None:
    """Compare with lambda' = lambda / (k + SNR)^gamma, written out for each prediction with alpha^2 + sigma^2 = 1.

    lambda is 1 on the squared error of the noise, which is SNR times that of x0. The squared error of v is 1 + SNR times that of
    x0, that of noise - x0 (1 + sqrt(SNR))^2 times, and that of EDM's output SNR + 1 / sigma_data^2 times.
    """
    snr = torch.logspace(-3, 3, 50, dtype=torch.float64)
    alpha, sigma = (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()
    ddpm = {
        "epsilon": torch.ones_like(snr),
        "x0": snr,
        "v": snr / (1 + snr),
        "flow": snr / (1 + snr.sqrt()) ** 2,
        "edm": snr / (snr + 4),
    }
    for name, weight in ddpm.items():
        torch.testing.assert_close(
            P2Weighting(k, gamma)(Scales(alpha, sigma), PREDICTIONS[name]), weight / (k + snr) ** gamma
        )


@pytest.mark.parametrize(("setting", "value"), [("k", 0.0), ("gamma", -1.0)])
def test_impossible_numbers_of_p2_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}={value}: a number"):
        P2Weighting(**{setting: value})


@pytest.mark.parametrize(
    "weighting",
    [UnitWeighting(), SNRWeighting(), TruncatedSNRWeighting(), MinSNRWeighting(), P2Weighting(), EDMWeighting()],
    ids=lambda w: type(w).__name__,
)
@pytest.mark.parametrize("name", list(PREDICTIONS))
def test_weights_are_finite_at_both_ends(name: str, weighting: object) -> None:
    for alpha, sigma in ((1.0, 0.0), (0.0, 1.0)):
        weight = weighting(Scales(times(alpha), times(sigma)), PREDICTIONS[name])  # type: ignore[operator]
        assert weight.isfinite().all()
        assert (weight >= 0).all()


def test_edm_scales_inputs_and_targets_to_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = 0.5 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    eps = torch.randn(200_000, generator=generator, dtype=torch.float64)
    prediction = EDMPrediction(0.5)
    for schedule, t in (("edm", 0.01), ("edm", 1.0), ("cosine", 0.3), ("flow", 0.8)):
        alpha, sigma = SCHEDULES[schedule].alpha(times(t)), SCHEDULES[schedule].sigma(times(t))
        assert prediction.scale_input(alpha * x0 + sigma * eps, Scales(alpha, sigma)).std().item() == pytest.approx(
            1, abs=0.01
        )
        assert prediction.target(x0, eps, alpha, sigma).std().item() == pytest.approx(1, abs=0.01)
    target_at_0 = prediction.target(x0, eps, times(1.0), times(0.0))
    # sigma = 0 must not give 0/0
    torch.testing.assert_close(target_at_0, -eps)


def test_epsilon_is_refused_where_alpha_is_0() -> None:
    for name in ("linear_zero_snr", "flow"):
        with pytest.raises(ValueError, match=r"prediction=epsilon: .*choices: x0, v, flow, edm"):
            EpsilonPrediction().check(SCHEDULES[name])
    EpsilonPrediction().check(SCHEDULES["cosine"])


@pytest.mark.parametrize("name", list(PREDICTIONS))
def test_scales_may_be_given_as_alpha_and_sigma(name: str) -> None:
    prediction, schedule = PREDICTIONS[name], SCHEDULES["linear"]
    x0, eps, t = noise(), noise(seed=1), torch.linspace(0.1, 0.9, len(noise()), dtype=torch.float64)
    scales = schedule(t).per_image(x0)
    apart = scales.alpha, scales.sigma
    assert torch.equal(prediction.to_x0(eps, x0, *apart), prediction.to_x0(eps, x0, scales))
    assert torch.equal(prediction.target(x0, eps, *apart), prediction.target(x0, eps, scales))
    with pytest.raises(TypeError, match="sigma"):
        prediction.to_x0(eps, x0, scales.alpha)
