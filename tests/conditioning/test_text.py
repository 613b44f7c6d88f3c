"""Captions and the encoder trained from scratch on them."""

from __future__ import annotations

import pytest
import torch

from lightdiff.conditioning import TextConditioner
from lightdiff.conditioning.captions import TemplateCaptions, words
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate
from lightdiff.core import FlowSchedule, VPrediction
from lightdiff.model import DiffusionModel
from lightdiff.networks import ResUNet, UNet

NAMES, TEMPLATES = ["cat", "small dog", "T-shirt"], ["A photo of a {}", "{}, please!"]


def conditioner(**settings: object) -> TextConditioner:
    torch.manual_seed(0)
    return TextConditioner(NAMES, TEMPLATES, **{"token_dim": 8, "num_heads": 2, "max_tokens": 6, **settings})


def test_captions_are_every_name_in_every_template() -> None:
    captions = TemplateCaptions(NAMES, TEMPLATES)
    assert captions.texts[2:4] == ["A photo of a small dog", "small dog, please!"]
    labels, chance = torch.tensor([0, 1, 2, 2]), torch.tensor([0.0, 0.49, 0.5, 0.999])
    numbers = captions.numbers(labels, chance)
    assert [captions.texts[n] for n in numbers] == [
        *("A photo of a cat", "A photo of a small dog", "T-shirt, please!", "T-shirt, please!")
    ]
    assert [captions.texts[n] for n in captions.first_of(labels)][2] == "A photo of a T-shirt"
    assert words("T-shirt,  please!") == ["t-shirt", "please"]


def test_conditions_have_their_shapes_and_padding_does_not_matter() -> None:
    text = conditioner()
    inputs = text.choose(labels=None, prompt=["a cat", "a photo of a small dog"])
    cond = text(inputs)
    assert cond["tokens"].shape == (2, 6, 8)
    assert cond["mask"].tolist() == [[1, 1, 0, 0, 0, 0], [1] * 6]
    alone = text(text.choose(labels=None, prompt="A CAT!"))
    torch.testing.assert_close(alone["tokens"][0, :2], cond["tokens"][0, :2])
    other = text(text.choose(labels=None, prompt="a small"))
    assert (other["tokens"][0, :2] - alone["tokens"][0, :2]).abs().max() > 1e-3


def test_dropped_captions_become_the_null_condition_one_by_one() -> None:
    text = conditioner().eval()
    inputs = text.choose(labels=[0, 1, 2], prompt=None)
    dropped = text(inputs, torch.tensor([True, False, True]))
    null, kept = text.null(), text(inputs)
    assert null["tokens"].shape == (1, 6, 8)
    first = null["mask"].bool().expand(3, -1)
    torch.testing.assert_close(dropped["tokens"][0][first[0]], null["tokens"][0][first[0]])
    torch.testing.assert_close(dropped["tokens"][1], kept["tokens"][1])
    assert torch.equal(dropped["mask"][[0, 2]], null["mask"].expand(2, -1))


def test_labels_mean_their_first_caption() -> None:
    text = conditioner()
    assert torch.equal(text.choose(labels=1, prompt=None), text.choose(labels=None, prompt="A photo of a small dog"))
    assert len(text.choose(labels=None, prompt=None)) == 3


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a purple cat", "prompt='a purple cat': unknown word 'purple'; known: a, cat, dog"),
        ("a a a a a a cat", "7 words; 1 to 6 are expected"),
        ("", "0 words"),
    ],
)
def test_prompts_it_cannot_read_are_reported(prompt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditioner().choose(labels=None, prompt=prompt)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, "num_heads=3: it must divide token_dim=8"),
        ({"max_tokens": 4}, "templates='A photo of a cat': 5 words; 1 to 4"),
        ({"drop_prob": 2.0}, r"drop_prob=2\.0"),
        ({"depth": 0}, "depth=0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditioner(**settings)
    with pytest.raises(ValueError, match="templates='a cat'"):
        TextConditioner(NAMES, ["a cat"])


def test_it_describes_itself_in_plain_data() -> None:
    text = conditioner()
    again = instantiate(config_of(text), importer=import_safe_target)
    again.load_state_dict(text.state_dict())
    inputs = text.choose(labels=[2], prompt=None)
    torch.testing.assert_close(again(inputs)["tokens"], text(inputs)["tokens"])


def test_a_checkpoint_names_its_own_width_whatever_the_default_is() -> None:
    assert TextConditioner(NAMES, TEMPLATES).token_dim == 512
    narrow = TextConditioner(NAMES, TEMPLATES, token_dim=64)
    assert config_of(narrow)["token_dim"] == 64


def test_guidance_0_and_1_are_the_unconditional_and_the_conditional_model() -> None:
    text = conditioner()
    network = ResUNet(1, 8, widths=(8,), attention_levels=(0,), num_heads=2, token_dim=8)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model = DiffusionModel(network, FlowSchedule(), prediction=VPrediction(), conditioning=text)
    plain, null, guided = (
        model.sample(2, prompt="a cat", guidance_scale=scale, num_steps=3, seed=0) for scale in (1.0, 0.0, 3.0)
    )
    other = model.sample(2, prompt="a small dog", guidance_scale=0.0, num_steps=3, seed=0)
    assert torch.equal(null, other)  # without guidance the caption is not looked at
    assert (plain - null).abs().max() > 1e-5
    assert (guided - plain).abs().max() > 1e-5
    with pytest.raises(ValueError, match="labels=1: not together with prompt"):
        model.sample(1, prompt="a cat", labels=1, num_steps=2)


def test_networks_without_attention_to_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="conditioning=TextConditioner: it gives tokens, mask, but UNet takes"):
        DiffusionModel(UNet(), FlowSchedule(), prediction=VPrediction(), conditioning=conditioner())
