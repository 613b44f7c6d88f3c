"""Models that are conditioned on images: weights of other models, teachers, guidance, and the pictures of few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lightdiff import load_model
from lightdiff.conditioning import Conditioners, LabelConditioner, SuperResolution
from lightdiff.config.build import build_model
from lightdiff.config.instantiate import ConfigError
from lightdiff.model import DiffusionModel, Generation, load_weights_into, save_export
from runs import ROOT, composed

TINY = ("dataset=digits", "model=unet_small", "model.widths=[4,4]", "model.attention_levels=[]", "model.num_heads=1")
FLOW = ("schedule=flow", "objective=flow", "sampler=ddim")
SMALL = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGES = ("conditioning=super_resolution", "conditioning.factor=2")
BOTH = ("conditioning=both", "conditioning.parts.second.factor=2")


def model(*settings: str) -> DiffusionModel:
    return build_model(composed(*TINY, "ema_decay=null", *settings)).eval()


def exported(folder: Path, *settings: str) -> str:
    folder.mkdir()
    made = model(*settings)
    generator = torch.Generator().manual_seed(0)
    for parameter in made.trained.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    save_export(made, folder, weights="ema")
    return str(folder)


def test_the_configuration_gives_the_network_the_channels_of_the_condition() -> None:
    assert model(*IMAGES).network.image_channels == 1
    assert model(*IMAGES, "conditioning.augmentation=0.2").network.image_channels == 2
    both = model(*BOTH, "conditioning.parts.second.augmentation=0.2").network
    assert (both.image_channels, both.cond_dim) == (2, 128)
    assert model("conditioning=label").network.image_channels is None
    text = model(*BOTH, "conditioning@conditioning.parts.first=text_small", "model=resunet", "model.widths=[4,4]")
    assert (text.network.token_dim, text.network.cond_dim) == (64, None)


def test_an_unconditional_model_goes_on_as_one_for_images(tmp_path: Path) -> None:
    source = load_model(exported(tmp_path / "plain"))
    found = model(*IMAGES)
    load_weights_into(found, tmp_path / "plain")
    x_t, t = torch.randn(2, 1, 16, 16), torch.tensor([0.3, 0.9])
    cond = found.conditioning(found.conditioning.inputs_of_rows(SMALL, range(2), torch.device("cpu")))
    with torch.no_grad():
        assert torch.equal(found.trained(x_t, t, cond), source.trained(x_t, t))


def test_the_shipped_model_of_classes_goes_on_with_images_beside_them() -> None:
    shipped = ROOT / "models" / "mnist_fast"
    source = load_model(shipped)
    found = build_model(composed("experiment=mnist_fast", "conditioning=both", "ema_decay=null")).eval()
    load_weights_into(found, shipped)
    small = torch.randint(0, 256, (1, 1, 7, 7), dtype=torch.uint8)
    images = found.sample(2, num_steps=2, seed=0, labels=[3, 8], condition=small)
    assert torch.equal(images, source.sample(2, num_steps=2, seed=0, labels=[3, 8]))


def test_guidance_exaggerates_the_class_and_keeps_the_image(tmp_path: Path) -> None:
    found = load_model(exported(tmp_path / "both", *BOTH))
    generation = Generation.of(found, num_steps=2, guidance_scale=3.0, labels=[1, 2], condition=SMALL)
    guided, cond, _ = generation.parts(found, range(2))
    x_t, t = torch.randn(2, 1, 16, 16), torch.tensor([0.5, 0.5])
    with torch.no_grad():
        null = {"vector": found.conditioning.null()["vector"].expand(2, -1), "image": cond["image"]}
        conditional, unconditional = found.denoiser(x_t, t, cond), found.denoiser(x_t, t, null)
        expected = unconditional + 3 * (conditional - unconditional)
        torch.testing.assert_close(guided(x_t, t, cond), expected)
    assert (conditional - unconditional).abs().max() > 1e-3


def test_image_i_does_not_depend_on_the_batch() -> None:
    found = model(
        *BOTH, "conditioning.parts.second.augmentation=0.4", "conditioning.parts.second.augmentation_level=0.3"
    )
    for parameter in found.trained.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    settings: dict[str, Any] = {"num_steps": 2, "seed": 0, "labels": [1, 2, 3], "condition": SMALL}
    whole = found.sample(7, **settings)
    torch.testing.assert_close(found.sample(7, batch_size=3, **settings), whole)
    assert not torch.equal(whole[0], whole[2])


@pytest.mark.parametrize("settings", [IMAGES, BOTH], ids=["images", "both"])
@pytest.mark.parametrize("objective", ["progressive_distillation", "flow_map"])
def test_a_teacher_gets_the_images_too(settings: tuple[str, ...], objective: str, tmp_path: Path) -> None:
    teacher = exported(tmp_path / "teacher", *FLOW, *settings)
    needs = ["model.takes_s=true"] if objective == "flow_map" else []
    student = model("schedule=flow", f"objective={objective}", f"objective.teacher={teacher}", *needs, *settings)
    batch = {"image": torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8), "label": torch.tensor([0, 1, 2, 3])}
    draw = student.objective.draw((4, 1, 16, 16), student.schedule, torch.Generator().manual_seed(0))
    inputs, drop = student.conditioning.inputs(batch, torch.rand(4)), student.conditioning.dropped(torch.rand(4))
    draw = student.objective.conditioned(draw, inputs, drop)
    cond = student.conditioning(inputs, drop)
    assert torch.equal(draw.teacher_cond["image"], cond["image"])
    losses = student.objective.losses(student.trained, student.trained, student.encode(batch["image"]), draw, cond)
    assert losses.isfinite().all()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (IMAGES, ("conditioning=super_resolution", "conditioning.factor=4")),
        (BOTH, IMAGES),
        (IMAGES, ("conditioning=inpaint",)),
    ],
)
def test_a_teacher_of_other_conditions_is_refused_in_one_line(
    theirs: tuple[str, ...], ours: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = exported(tmp_path / "teacher", *FLOW, *theirs)
    with pytest.raises(Exception, match="teacher=.*(is made of other inputs|its labels are)") as caught:
        model("schedule=flow", "objective=progressive_distillation", f"objective.teacher={teacher}", *ours)
    assert "\n" not in str(caught.value)


def test_a_condition_that_the_network_does_not_take_is_refused_in_one_line() -> None:
    both = ("conditioning=both", "conditioning.parts.second.factor=2")
    with pytest.raises(ConfigError, match="it gives vector, image, but BasicUNet takes image") as caught:
        build_model(composed("dataset=digits", "model=basic_unet", *both))
    assert "\n" not in str(caught.value)


def test_in_plain_python() -> None:
    from lightdiff.core import FlowPrediction, FlowSchedule
    from lightdiff.networks import UNet

    network = UNet(1, 16, (4, 4), (), cond_dim=8, image_channels=1)
    conditioning = Conditioners([LabelConditioner(3, 8), SuperResolution(1, 16, factor=2)])
    found = DiffusionModel(network, FlowSchedule(), prediction=FlowPrediction(), conditioning=conditioning)
    assert found.sample(3, num_steps=1, condition=SMALL[:1]).shape == (3, 1, 16, 16)
