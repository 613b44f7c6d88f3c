"""ImageConditioner and SuperResolution: what the network gets, and that chance alone decides what is random."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightdiff.conditioning import SuperResolution
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate

CHANCE = torch.rand(6, generator=torch.Generator().manual_seed(1))


def images(channels: int = 3, size: int = 8) -> Tensor:
    return torch.randint(
        0, 256, (6, channels, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def conditioner(**settings: Any) -> SuperResolution:
    return SuperResolution(3, 8, **{"factor": 2, "kernel": "box", **settings})


def test_the_box_kernel_takes_means_of_squares_and_fills_squares_with_them() -> None:
    batch = images()
    means = batch.float().unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean(dim=(3, 5)).round()
    found = conditioner()
    assert torch.equal(found.made(batch, CHANCE), means.to(torch.uint8))
    expected = (means / 127.5 - 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(found(found.inputs({"image": batch}, CHANCE))["image"], expected)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "box"])
def test_a_plain_image_stays_what_it_is(kernel: str) -> None:
    gray = torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)
    found = conditioner(kernel=kernel)
    image = found(found.inputs({"image": gray}, CHANCE[:2]))["image"]
    torch.testing.assert_close(image, torch.full((2, 3, 8, 8), 77 / 127.5 - 1))


def test_floats_of_a_loader_of_ones_own_give_the_same_condition() -> None:
    found, batch = conditioner(), images()
    as_floats = found.inputs({"image": batch.float() / 255}, CHANCE)
    assert torch.equal(as_floats, found.inputs({"image": batch}, CHANCE))


def test_rectangular_images() -> None:
    found = SuperResolution(1, (8, 12), factor=4)
    assert (found.condition_shape, found.image_channels) == ((1, 2, 3), 1)
    assert found.null()["image"].shape == (1, 1, 8, 12)


def test_noise_is_mixed_in_as_the_equation_says_and_its_level_is_the_last_channel() -> None:
    plain, noisy = conditioner(), conditioner(augmentation=0.5)
    assert noisy.image_channels == 4
    clean = plain.inputs({"image": images()}, CHANCE)
    image = noisy.inputs({"image": images()}, CHANCE)
    s = image[:, 3:]
    assert torch.equal(s, s[:, :, :1, :1].expand_as(s))
    assert s.min() >= 0
    assert s.max() < 0.5
    assert len(s[:, 0, 0, 0].unique()) == 6
    noise = (image[:, :3] - (1 - s**2).sqrt() * clean) / s
    assert abs(noise.mean()) < 6 / noise.numel() ** 0.5
    assert abs(noise.std() - 1) < 6 / (2 * noise.numel()) ** 0.5


def test_levels_are_uniform() -> None:
    found = SuperResolution(1, 2, factor=2, augmentation=0.8)
    chance = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    levels = found.inputs({"image": torch.zeros(4000, 1, 2, 2, dtype=torch.uint8)}, chance)[:, 1, 0, 0]
    assert (torch.histc(levels, 8, 0, 0.8) - 500).abs().max() < 6 * 500**0.5


@pytest.mark.parametrize("settings", [{}, {"kernel": "bicubic", "augmentation": 0.5}], ids=["plain", "augmented"])
def test_an_image_has_its_condition_in_any_share_of_the_batch(settings: dict[str, Any]) -> None:
    found = conditioner(**settings)
    whole = found.inputs({"image": images()}, CHANCE)
    for rank in range(3):
        own = found.inputs({"image": images()[rank::3]}, CHANCE[rank::3])
        assert torch.equal(own, whole[rank::3])


def test_when_sampling_image_i_gets_condition_i_modulo_k_whatever_the_batch() -> None:
    found = conditioner(augmentation=0.5, augmentation_level=0.2)
    choice = found.choose(labels=None, prompt=None, condition=found.made(images()[:4], CHANCE[:4]))
    whole = found.inputs_of_rows(choice, range(10), torch.device("cpu"))
    assert torch.equal(found.inputs_of_rows(choice, range(3, 7), torch.device("cpu")), whole[3:7])
    torch.testing.assert_close(whole[:, 3], torch.full((10, 8, 8), 0.2))
    # the same condition twice, with other noise
    assert not torch.equal(whole[0], whole[4])
    # a level that is asked for takes the place of the conditioner's own
    quiet = conditioner(augmentation=0.5)
    asked = quiet.inputs_of_rows(choice, range(10), torch.device("cpu"), noise=found.augmentation_level)
    assert torch.equal(asked, whole)
    clean = conditioner().inputs_of_rows(choice, range(10), torch.device("cpu"))
    assert torch.equal(clean[0], clean[4])
    assert torch.equal(
        clean, conditioner(augmentation=0.5).inputs_of_rows(choice, range(10), torch.device("cpu"))[:, :3]
    )


def test_dropped_images_get_zeros_and_without_dropping_guidance_keeps_the_image() -> None:
    inputs = conditioner().inputs({"image": images()}, CHANCE)
    never, often = conditioner(), conditioner(drop_prob=0.5)
    drop = often.dropped(torch.tensor([0.1, 0.9, 0.4, 0.6, 0.49, 0.5]))
    assert drop.tolist() == [True, False, True, False, True, False]
    cond = often(inputs, drop)
    assert not cond["image"][drop].any()
    assert torch.equal(cond["image"][~drop], inputs[~drop])
    assert not never.dropped(torch.zeros(3)).any()
    assert (never.guidance_acts, often.guidance_acts) == (False, True)
    assert torch.equal(never.unconditional(cond)["image"], cond["image"])
    assert not often.unconditional(cond)["image"].any()


def test_it_computes_in_the_type_of_the_weights() -> None:
    found = conditioner(augmentation=0.3).double()
    assert found(found.inputs({"image": images()}, CHANCE.double()))["image"].dtype == torch.float64


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, r"condition: images are needed, .* of 3x4x4 \(channels, height, width\)"),
        (torch.zeros(2, 3, 4, 4), r"condition=float32 \(2, 3, 4, 4\): uint8 images \(K, 3, 4, 4\) are expected"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), r"condition=uint8 \(3, 4, 4\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"condition=uint8 \(1, 3, 8, 8\)"),
        (torch.zeros(0, 3, 4, 4, dtype=torch.uint8), r"condition=uint8 \(0, 3, 4, 4\)"),
    ],
)
def test_other_conditions_are_refused_in_one_line(condition: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}") as caught:
        conditioner().choose(labels=None, prompt=None, condition=condition)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 3}, "factor=3: images of 8x8 cannot be made so many times smaller; choices: 2, 4, 8"),
        ({"factor": 1}, "factor=1: .* choices: 2, 4, 8"),
        ({"kernel": "lanczos"}, "kernel=lanczos: choices: bicubic, bilinear, box"),
        ({"drop_prob": 1.5}, r"drop_prob=1.5: a number in \[0, 1\] is expected"),
        ({"augmentation": -0.1}, r"augmentation=-0.1: a number in \[0, 1\] is expected"),
        (
            {"augmentation": 0.2, "augmentation_level": 0.3},
            r"augmentation_level=0.3: a number in \[0, 0.2\] is expected",
        ),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}$"):
        conditioner(**settings)


def test_a_description_builds_an_equal_one_which_takes_the_same_inputs() -> None:
    found = SuperResolution(3, (8, 8), factor=2, kernel="box", augmentation=0.4)
    again = instantiate(config_of(found), importer=import_safe_target)
    assert config_of(again) == config_of(found)
    assert found.same_inputs(again)
    assert found.same_inputs(SuperResolution(3, 8, factor=2, kernel="box", augmentation=0.4, drop_prob=0.1))
    assert not found.same_inputs(SuperResolution(3, 8, factor=4, kernel="box", augmentation=0.4))
    assert not found.state_dict()
