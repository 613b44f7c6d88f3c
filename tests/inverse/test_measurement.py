"""Denoisers that know a measurement: their formulas, any sampler and schedule, gradients in inference mode, guidance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from gaussian_posterior import SHAPE, correlated, measured
from lightdiff import DiffusionModel, load_model
from lightdiff.core import BlockGenerator, ClassifierFree, Denoiser, FlowSchedule, NoGuidance, VPrediction
from lightdiff.inverse import (
    DPS,
    CompressedSensing,
    DiffPIR,
    Inpaint,
    Measurement,
    MomentMatching,
    PiGDM,
    SuperResolution,
)
from lightdiff.model import Generation
from lightdiff.networks import UNet
from lightdiff.samplers import DDIM, DDPM, SAMPLERS
from oracles import SCHEDULES
from runs import ROOT

METHODS: dict[str, Callable[..., Measurement]] = {
    "dps": DPS,
    "pigdm": PiGDM,
    "moment_matching": MomentMatching,
    "diffpir": DiffPIR,
}
EACH = pytest.mark.parametrize("make", list(METHODS.values()), ids=list(METHODS))
OPERATOR = SuperResolution(SHAPE, 2)
SHIPPED = ROOT / "models" / "mnist_fast"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@EACH
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_measurement_is_met_on_every_schedule(make: Callable[..., Measurement], schedule: str) -> None:
    data = correlated(SCHEDULES[schedule])
    y = measured(data, OPERATOR)
    x_T = data.schedule.prior_std * normal(4, *SHAPE)
    alone, known = (DDIM().sample(denoiser, x_T, 20) for denoiser in (data, make(data, OPERATOR, y, 0.01)))
    away, near = ((OPERATOR(x) - y).square().mean().sqrt() for x in (alone, known))
    # DPS does not go all the way
    assert near < (0.6 if make is DPS else 0.15) * away


@EACH
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_every_sampler_takes_it(make: Callable[..., Measurement], sampler: str) -> None:
    data = correlated(FlowSchedule())
    y = measured(data, OPERATOR)
    generator = torch.Generator().manual_seed(1)
    alone, known = (
        SAMPLERS[sampler]().sample(denoiser, normal(4, *SHAPE), 20, generator=generator)
        for denoiser in (data, make(data, OPERATOR, y, 0.01))
    )
    away, near = ((OPERATOR(x) - y).square().mean().sqrt() for x in (alone, known))
    assert near < (0.7 if make is DPS else 0.3) * away


@EACH
def test_each_image_is_restored_alone(make: Callable[..., Measurement]) -> None:
    data = correlated(FlowSchedule())
    x_t, y, t = normal(3, *SHAPE), OPERATOR(normal(3, *SHAPE, seed=1)), torch.tensor([0.9, 1.0, 0.4]).double()
    # its x0_hat takes the first of the times
    together = torch.cat([make(data, OPERATOR, y, 0.1)(x_t, t[i : i + 1].expand(3))[i : i + 1] for i in range(3)])
    alone = torch.cat([make(data, OPERATOR, y[i : i + 1], 0.1)(x_t[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)


@EACH
def test_it_is_called_like_a_denoiser(make: Callable[..., Measurement]) -> None:
    data = correlated(FlowSchedule())
    known = make(data, OPERATOR, measured(data, OPERATOR))
    assert known.schedule is data.schedule and known.value_range is None and known.takes_s is False
    x0_hat = known(normal(2, *SHAPE), torch.full((2,), 0.5).double())
    assert x0_hat.shape == (2, *SHAPE) and not x0_hat.requires_grad


def test_a_flow_map_is_asked_for_its_ordinary_estimate() -> None:
    class FlowMap:
        schedule, takes_s = FlowSchedule(), True

        def __call__(self, x_t: Tensor, t: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
            assert s is None
            return 0.5 * x_t

    known = PiGDM(FlowMap(), OPERATOR, OPERATOR(normal(1, *SHAPE)))
    DDIM().sample(known, normal(2, *SHAPE), 3)


def at(make: Callable[..., Measurement], t: float, noise_std: float = 0.3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x0_hat without and with the measurement, the residual, and the exact covariance C of x0 given x_t."""
    data = correlated(FlowSchedule())
    x_t, time = normal(2, *SHAPE), torch.full((2,), t).double()
    x0_hat = data(x_t, time)
    y = measured(data, OPERATOR)
    covariance = data.cov @ torch.linalg.inv((1 - t) ** 2 * data.cov + t**2 * torch.eye(8).double()) * t**2
    return x0_hat, make(data, OPERATOR, y, noise_std)(x_t, time), y - OPERATOR(x0_hat), covariance


def matrix() -> Tensor:
    return OPERATOR(torch.eye(8).double().reshape(8, *SHAPE)).flatten(1).T


def test_pigdm_is_its_equation() -> None:
    plain, known, residual, covariance = at(partial(PiGDM, data_std=0.7), 0.4)
    variance = 0.49 * 0.16 / (0.36 * 0.49 + 0.16)
    V = variance * matrix() @ matrix().T + 0.09 * torch.eye(2).double()
    step = covariance @ matrix().T @ torch.linalg.inv(V) @ residual.flatten(1).T
    torch.testing.assert_close(known, plain + step.T.reshape(plain.shape))


def test_moment_matching_is_its_equation() -> None:
    plain, known, residual, covariance = at(partial(MomentMatching, iterations=2), 0.4)
    V = matrix() @ covariance @ matrix().T + 0.09 * torch.eye(2).double()
    step = covariance @ matrix().T @ torch.linalg.inv(V) @ residual.flatten(1).T
    torch.testing.assert_close(known, plain + step.T.reshape(plain.shape))


def test_dps_is_its_equation() -> None:
    plain, known, residual, covariance = at(partial(DPS, data_std=0.7, step_size=0.5), 0.4)
    variance = 0.49 * 0.16 / (0.36 * 0.49 + 0.16)
    expected = (variance / 4 + 0.09) ** 0.5
    found = residual.flatten(1).square().mean(1).sqrt()
    step = 0.5 * covariance @ matrix().T @ (residual.flatten(1).T / found) / expected
    torch.testing.assert_close(known, plain + step.T.reshape(plain.shape))


def test_dps_follows_the_gradient_of_the_norm_of_the_residual() -> None:
    data, t = correlated(FlowSchedule()), 0.4
    x_t, time, y = normal(1, *SHAPE).requires_grad_(), torch.full((1,), t).double(), measured(data, OPERATOR)
    norm = torch.linalg.vector_norm(y - OPERATOR(data(x_t, time)))
    (gradient,) = torch.autograd.grad(norm, x_t)
    step = (DPS(data, OPERATOR, y)(x_t, time) - data(x_t, time)).detach()
    assert torch.nn.functional.cosine_similarity(step.flatten(), -gradient.flatten(), dim=0).item() == pytest.approx(1)


@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_diffpir_solves_its_least_squares(noise_std: float) -> None:
    plain, known, _, _ = at(partial(DiffPIR, prior_weight=2.0), 0.4, noise_std)
    rho = max(2 * noise_std**2 * 0.36 / 0.16, 1e-12)
    y = measured(correlated(FlowSchedule()), OPERATOR)
    left = torch.cat([matrix(), rho**0.5 * torch.eye(8).double()])
    right = torch.cat([y.flatten(1).expand(2, 2), rho**0.5 * plain.flatten(1)], dim=1)
    expected = torch.linalg.lstsq(left, right.T).solution.T
    torch.testing.assert_close(known.flatten(1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [PiGDM, MomentMatching])
def test_where_there_is_no_signal_the_images_count_as_white(make: Callable[..., Measurement]) -> None:
    """At alpha = 0 the network's covariance is 0 / 0, and r^2 is data_std^2."""
    plain, known, residual, _ = at(partial(make, data_std=0.7), 1.0)
    step = 0.49 * residual.flatten(1) @ matrix() / (0.49 / 4 + 0.09)
    torch.testing.assert_close(known, plain + step.reshape(plain.shape))


def test_what_no_pixel_says_does_not_count() -> None:
    """The norm of the residual is taken over the known pixels, however many are unknown."""
    data, half = correlated(FlowSchedule()), torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(1, 1, 2, 4)
    x_t, time = normal(1, *SHAPE), torch.full((1,), 0.4).double()
    inpaint = Inpaint(SHAPE, half)
    known = DPS(data, inpaint, inpaint(normal(1, *SHAPE, seed=1)))(x_t, time)
    residual = inpaint(normal(1, *SHAPE, seed=1)) - inpaint(data(x_t, time))
    rms = (residual.square().sum() / 4).sqrt()
    variance = (0.25 * 0.16 / (0.36 * 0.25 + 0.16)) ** 0.5
    covariance = data.cov @ torch.linalg.inv(0.36 * data.cov + 0.16 * torch.eye(8).double()) * 0.16
    step = covariance @ residual.flatten() / (variance * rms)
    torch.testing.assert_close((known - data(x_t, time)).flatten(), step)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(DPS, noise_std=-1.0), "noise_std=-1.0: a number of 0 or more is expected"),
        (partial(DPS, step_size=0.0), "step_size=0.0: a number above 0 is expected"),
        (partial(PiGDM, data_std=0.0), "data_std=0.0: a number above 0"),
        (partial(PiGDM, strength=float("inf")), "strength=inf: a number above 0"),
        (partial(PiGDM, smallest_ratio=-0.1), "smallest_ratio=-0.1: a number of 0 or more"),
        (partial(MomentMatching, iterations=0), "iterations=0: a whole number, 1 or more"),
        (partial(DiffPIR, prior_weight=float("nan")), "prior_weight=nan: a number above 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[..., Measurement], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(correlated(FlowSchedule()), OPERATOR, torch.zeros(1, 1, 1, 2))


# -- trained models, whose samplers run in inference mode ---------------------------------------------------------------


def restored(model: DiffusionModel, make: Callable[..., Measurement], y: Tensor, **settings: object) -> Tensor:
    """Two restorations as `model.sample` draws them: in inference mode, with conditions made there."""
    generation = Generation.of(model, num_samples=2, num_steps=3, **settings)  # type: ignore[arg-type]

    def states():
        denoiser, cond, generator = generation.parts(model, range(2))
        known = make(denoiser, SuperResolution(model.image_shape, 4), y)
        x_T = normal(2, *model.image_shape).float()
        yield from generation.sampler.trajectory(known, x_T, 3, cond, generator)

    [*_, last] = generation.stepwise(model, states())
    return last.x_t


@EACH
def test_labels_and_guidance_count_beside_the_measurement(make: Callable[..., Measurement]) -> None:
    model, y = load_model(SHIPPED), torch.zeros(1, 1, 7, 7)
    plain, three, guided, unconditional = (
        restored(model, make, y, **settings)
        for settings in (
            {"labels": 8},
            {"labels": 3},
            {"labels": 3, "guidance": ClassifierFree(2.0, interval=(0.2, 1.0), rescale=0.5)},
            {"labels": 3, "guidance": ClassifierFree(0.0)},
        )
    )
    for one, other in ((plain, three), (three, guided), (guided, unconditional)):
        assert not torch.allclose(one, other, atol=1e-3)
    again = restored(model, make, y, labels=3, guidance=NoGuidance())
    assert torch.equal(three, again)


def test_in_inference_mode_the_result_is_that_outside_of_it() -> None:
    model = load_model(SHIPPED)
    y, x_T = torch.zeros(1, 1, 7, 7), normal(2, *model.image_shape).float()
    cond = {name: value.detach().expand(2, -1) for name, value in model.conditioning.null().items()}
    known = PiGDM(model.denoiser, SuperResolution(model.image_shape, 4), y)
    outside = DDPM().sample(known, x_T, 2, cond, BlockGenerator(0, 0, 2, "cpu"))
    with torch.inference_mode():
        inside = DDPM().sample(known, x_T * 1, 2, cond, BlockGenerator(0, 0, 2, "cpu"))
        assert inside.is_inference()
    assert torch.equal(outside, inside)


def test_weights_that_are_trained_get_no_gradients() -> None:
    network = UNet(channels=1, image_size=8, widths=[8, 8], attention_levels=[])
    denoiser = Denoiser(network, FlowSchedule(), VPrediction())
    operator = CompressedSensing((1, 8, 8), 0.5)
    known = MomentMatching(denoiser, operator, torch.zeros(1, 32), 0.1)
    x0_hat = known(torch.randn(2, 1, 8, 8), torch.full((2,), 0.5))
    assert not x0_hat.requires_grad and all(weight.grad is None for weight in network.parameters())


def test_weights_of_inference_mode_are_named() -> None:
    with torch.inference_mode():
        model = load_model(SHIPPED)
    known = PiGDM(model.denoiser, SuperResolution(model.image_shape, 4), torch.zeros(1, 1, 7, 7))
    with pytest.raises(RuntimeError, match=r"made in torch.inference_mode\(\) have no gradients"):
        known(torch.zeros(1, 1, 28, 28), torch.full((1,), 0.5), {"vector": torch.zeros(1, 128)})
