"""encode, interpolate, inpaint and image_to_image, tested by their exact properties."""

from __future__ import annotations

import pytest
import torch

from lightdiff.core import keyed_generator
from lightdiff.samplers import DDIM, DDPM, DPMSolverMultistep, encode, image_to_image, inpaint, interpolate, slerp
from oracles import SCHEDULES, gaussian_data, noise, rms, slope


@pytest.mark.parametrize("schedule", ["cosine", "flow", "edm", "linear_zero_snr"])
def test_encode_is_the_inverse_of_ddim(schedule: str) -> None:
    data = gaussian_data(SCHEDULES[schedule])
    images = data.mean + data.std * noise(seed=3)
    errors = []
    for num_steps in (50, 100, 200):
        x_T = encode(DDIM(), data, images, num_steps)
        errors.append(rms(DDIM().sample(data, x_T, num_steps) - images))
    assert errors[-1] < 2e-3
    assert slope([50, 100, 200], errors) > 1.4
    if schedule != "linear_zero_snr":
        exact = data.flow(images, 0.0, 1.0)
        assert rms(encode(DDIM(), data, images, 800) - exact) < 0.05 * rms(exact)


def test_slerp_stays_on_the_sphere() -> None:
    first, second = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    assert torch.allclose(slerp(first, second, 0.0), first)
    assert torch.allclose(slerp(first, second, 1.0), second, atol=1e-6)
    middle = slerp(first, second, 0.5).flatten(1).norm(dim=1)
    torch.testing.assert_close(
        middle, (first.flatten(1).norm(dim=1) + second.flatten(1).norm(dim=1)) / 2, rtol=0.02, atol=0
    )
    torch.testing.assert_close(slerp(first, first, 0.3), first)


def test_interpolation_begins_and_ends_at_the_two_images() -> None:
    data = gaussian_data(SCHEDULES["cosine"])
    first, second = noise(1, seed=1), noise(1, seed=2)
    images = interpolate(DDIM(), data, first, second, 5, 20)
    assert images.shape == (5, 1, 2, 3)
    torch.testing.assert_close(images[:1], DDIM().sample(data, first, 20))
    torch.testing.assert_close(images[-1:], DDIM().sample(data, second, 20))
    distances = (images - images[:1]).flatten(1).norm(dim=1)
    assert (distances.diff() > 0).all()
    with pytest.raises(ValueError, match="num_images=1"):
        interpolate(DDIM(), data, first, second, 1, 20)


@pytest.mark.parametrize("sampler", [DDIM(), DDPM(), DPMSolverMultistep()], ids=["ddim", "ddpm", "dpmpp_2m"])
@pytest.mark.parametrize("schedule", ["cosine", "flow", "edm"])
def test_inpainting_keeps_what_is_known_and_draws_the_rest(schedule: str, sampler: DDIM) -> None:
    data = gaussian_data(SCHEDULES[schedule])
    images = data.mean + data.std * noise(2000, seed=3)
    mask = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    painted = inpaint(sampler, data, images, mask, 100, generator=keyed_generator("cpu", 1))
    known = mask.expand_as(images) == 0
    torch.testing.assert_close(painted[known], images[known])
    new = (painted - data.mean) / data.std
    assert new[~known].std().item() == pytest.approx(1, abs=0.1)
    # the unknown pixels are generated, not copied
    assert (new - (images - data.mean) / data.std)[~known].std() > 1


def test_image_to_image_keeps_more_at_low_strength() -> None:
    data = gaussian_data(SCHEDULES["cosine"])
    images = data.mean + data.std * noise(500, seed=3)
    kept = [
        rms(image_to_image(DDIM(), data, images, strength, 50, generator=keyed_generator("cpu", 1)) - images)
        for strength in (0.1, 0.5, 1.0)
    ]
    assert kept[0] < kept[1] < kept[2]
    with pytest.raises(ValueError, match=r"strength=0\.001: a number in \[0\.02, 1\]"):
        image_to_image(DDIM(), data, images, 0.001, 50)
