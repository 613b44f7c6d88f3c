"""Colourise, InpaintMask, Degrade and Paired: what the condition is, and that an image's own chance alone decides it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lightdiff.conditioning import Colourise, Degrade, InpaintMask, Paired
from lightdiff.conditioning.degrade import blurred
from lightdiff.conditioning.image import ImageConditioner
from lightdiff.conditioning.masks import MASKS, NUMBERS
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate

B = 12
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (B, 3, 16, 24), dtype=torch.uint8, generator=GENERATOR)
CHANCE = torch.rand(B, generator=GENERATOR)
BUILD: dict[str, Any] = {
    "colourise": lambda: Colourise(3, (16, 24), augmentation=0.2),
    "inpaint": lambda: InpaintMask(3, (16, 24), masks=("box", "stroke", "half")),
    "degrade": lambda: Degrade(3, (16, 24), blur=(0, 2), noise=(0, 0.2)),
    "degrade with jpeg": lambda: Degrade(3, (16, 24), blur=None, noise=None, jpeg=(5, 90)),
    "paired": lambda: Paired(3, (16, 24), condition_channels=2, augmentation=0.5),
}
BATCH = {"image": IMAGES, "condition": IMAGES[:, :2].flip(0)}


@pytest.mark.parametrize("name", list(BUILD))
def test_an_image_has_its_condition_in_any_share_of_the_batch(name: str) -> None:
    found: ImageConditioner = BUILD[name]()
    before = torch.get_rng_state()
    whole = found.inputs(BATCH, CHANCE)
    assert torch.equal(torch.get_rng_state(), before)
    assert whole.shape == (B, found.image_channels, 16, 24)
    for rank in range(5):
        own = found.inputs({key: value[rank::5] for key, value in BATCH.items()}, CHANCE[rank::5])
        assert torch.equal(own, whole[rank::5])


@pytest.mark.parametrize("name", list(BUILD))
def test_a_user_can_give_what_training_makes(name: str) -> None:
    found: ImageConditioner = BUILD[name]()
    condition = found.condition_of(BATCH, CHANCE)
    assert (condition.dtype, condition.shape) == (torch.uint8, (B, *found.condition_shape))
    choice = found.choose(labels=None, prompt=None, condition=condition)
    image = found(found.inputs_of_rows(choice, range(B), torch.device("cpu")))["image"]
    torch.testing.assert_close(image[:, : found.expanded_channels], found.expanded(condition))
    assert found.pictured(condition).shape[-2:] == (16, 24)
    assert found.pictured(condition).abs().max() <= 1
    assert torch.equal(condition, found.condition_of(BATCH, CHANCE))


@pytest.mark.parametrize("name", list(BUILD))
def test_a_description_builds_an_equal_one(name: str) -> None:
    found = BUILD[name]()
    again = instantiate(config_of(found), importer=import_safe_target)
    assert config_of(again) == config_of(found)
    assert found.same_inputs(again)


def test_gray_is_the_brightness_that_files_are_read_with() -> None:
    from torchvision.transforms.functional import rgb_to_grayscale

    found = Colourise(3, (16, 24)).made(IMAGES, CHANCE)
    assert (found.int() - rgb_to_grayscale(IMAGES).int()).abs().max() <= 1


def test_hidden_pixels_are_zero_and_all_others_those_of_the_image() -> None:
    found = BUILD["inpaint"]()
    image = found.inputs({"image": IMAGES}, CHANCE)
    hidden = image[:, 3:] > 0
    assert image[:, 3].unique().tolist() == [0, 1]
    assert not image[:, :3][hidden.expand(-1, 3, -1, -1)].any()
    kept = ~hidden.expand(-1, 3, -1, -1)
    assert torch.equal(image[:, :3][kept], (IMAGES.float() / 127.5 - 1)[kept])
    # what lies under the mask is in no channel
    other = found.inputs({"image": torch.where(hidden, 255 - IMAGES, IMAGES)}, CHANCE)
    assert torch.equal(other, image)


def test_each_image_gets_one_of_the_kinds_of_masks() -> None:
    chance = torch.rand(600, generator=torch.Generator().manual_seed(0))
    images = torch.ones(600, 1, 16, 16, dtype=torch.uint8)
    hidden = InpaintMask(1, 16, masks=("half", "box")).made(images, chance)[:, 1] == 0
    columns = torch.zeros(16, 16, dtype=torch.bool)
    columns[:, :8] = True
    halves = torch.stack([columns, ~columns, columns.T, ~columns.T])
    is_half = (hidden[:, None] == halves).all((2, 3))
    # a quarter of one half each; six deviations
    assert ((is_half.sum(0) - 75).abs() < 6 * 8.1).all()
    assert abs(int(is_half.any(1).sum()) - 300) < 6 * 12.3


@pytest.mark.parametrize("kind", list(MASKS))
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 24), (28, 28)])
def test_no_mask_is_empty_and_boxes_and_strokes_leave_something(kind: str, size: tuple[int, int]) -> None:
    u = torch.rand(500, NUMBERS, generator=torch.Generator().manual_seed(1))
    masks = MASKS[kind](torch.cat([u, torch.zeros(1, NUMBERS), torch.full((1, NUMBERS), 1 - 2**-24)]), size)
    assert masks.shape == (502, *size)
    if min(size) > 1:
        assert masks.any(2).any(1).all()
    if min(size) > 2:
        assert not masks.all(2).all(1).any()


def test_a_box_is_a_rectangle_with_its_sides_between_a_quarter_and_three_quarters() -> None:
    masks = MASKS["box"](torch.rand(300, NUMBERS, generator=torch.Generator().manual_seed(1)), (16, 24))
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    assert torch.equal(masks.sum((1, 2)), heights * widths)
    assert (heights.min(), heights.max()) == (4, 12)
    assert (widths.min(), widths.max()) == (6, 18)


def test_a_blur_is_the_convolution_with_the_gaussian_kernel() -> None:
    sigma = 1.5
    impulse = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    impulse[0, 0, 10, 10] = 1
    found = blurred(impulse, torch.tensor([sigma], dtype=torch.float64), 5)[0, 0]
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    kernel = (-0.5 * (offsets / sigma) ** 2).exp()
    expected = torch.outer(kernel, kernel) / kernel.sum() ** 2
    torch.testing.assert_close(found[5:16, 5:16], expected)
    assert abs(found.sum() - 1) < 1e-12
    gray = torch.full((1, 1, 7, 7), 0.3)
    torch.testing.assert_close(blurred(gray, torch.tensor([2.0]), 6), gray)
    sharp = torch.rand(1, 1, 7, 7)
    assert torch.equal(blurred(sharp, torch.tensor([0.0]), 6), sharp)


def test_noise_has_the_strength_that_is_asked_for() -> None:
    gray = torch.full((B, 3, 16, 24), 128, dtype=torch.uint8)
    noise = Degrade(3, (16, 24), blur=None, noise=(0.05, 0.05)).made(gray, CHANCE).double() - 128
    expected = (0.05 * 255) ** 2 + 1 / 12
    assert abs(noise.var() / expected - 1) < 6 * (2 / noise.numel()) ** 0.5
    each = Degrade(3, (16, 24), blur=None, noise=(0.0, 0.2)).made(gray, CHANCE).double().flatten(1).std(1)
    assert each.min() < 0.05 * 255 < each.max()


def test_less_quality_leaves_less_of_the_image() -> None:
    smooth = torch.linspace(0, 255, 24).expand(2, 3, 16, 24).round().byte()
    errors = [
        (Degrade(3, (16, 24), blur=None, noise=None, jpeg=(quality, quality)).made(smooth, CHANCE[:2]).int() - smooth)
        .abs()
        .double()
        .mean()
        for quality in (1, 50, 100)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2


def test_pairs_are_taken_as_they_are() -> None:
    found = Paired(3, (16, 24), condition_channels=2)
    found.check(BATCH)
    assert torch.equal(found(found.inputs(BATCH, CHANCE))["image"], BATCH["condition"].float() / 127.5 - 1)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, r"condition=None: Paired needs a second image .*choices: dataset=paired"),
        (torch.zeros(B, 2, 16, 24), r"condition=float32 \(12, 2, 16, 24\): uint8 \(12, 2, 16, 24\) is expected"),
        (IMAGES, r"condition=uint8 \(12, 3, 16, 24\): uint8 \(12, 2, 16, 24\) is expected"),
        ([1], "condition=list: uint8"),
    ],
)
def test_batches_without_pairs_are_refused_in_one_line(condition: Any, message: str) -> None:
    batch: dict[str, Any] = {"image": IMAGES, "condition": condition}
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        Paired(3, (16, 24), condition_channels=2).check(batch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Colourise(1, 8), "channels=1: images in colour, of 3 channels, are expected"),
        (lambda: InpaintMask(1, 8, masks=["circle"]), r"masks=\['circle'\]: choices, one or more: box, stroke, half"),
        (lambda: InpaintMask(1, 8, masks=[]), r"masks=\[\]: choices, one or more: box, stroke, half"),
        (
            lambda: Degrade(1, 8, blur=(2, 1)),
            r"blur=\[2, 1\]: two numbers, the lower one first, in \[0, 8\] are expected",
        ),
        (lambda: Degrade(1, 8, noise=(0, 2)), r"noise=\[0, 2\]: two numbers, the lower one first, in \[0, 1\]"),
        (lambda: Degrade(1, 8, jpeg=(0, 50)), r"jpeg=\[0, 50\]: two numbers, the lower one first, in \[1, 100\]"),
        (lambda: Degrade(2, 8, jpeg=(10, 50)), r"jpeg=\[10, 50\]: images of 1 or 3 channels are expected"),
        (lambda: Degrade(1, 8, blur=None, noise=None), "blur=null: at least one of blur, noise and jpeg is expected"),
        (lambda: Paired(1, 8, condition_channels=0), "condition_channels=0: 1 or more is expected"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        build()
    assert "\n" not in str(caught.value)
