"""Condition images: a network that takes one starts as the network without it, and equals that one for an image of zeros."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightdiff.networks import BasicUNet, DiffusersUNet2D, DiffusersUNet2DCondition, DiT, ResUNet, SimpleUNet, UNet

BUILD: dict[str, Any] = {
    "unet": lambda **image: UNet(1, 16, (6, 9, 12), (1, 2), num_heads=3, **image),
    "basic": lambda **image: BasicUNet(1, 16, (8, 16), **image),
    "simple": lambda **image: SimpleUNet(1, 16, (8, 16, 16), norm="group", **image),
    "resunet": lambda **image: ResUNet(1, 16, (9, 12), attention_levels=(1,), num_heads=3, **image),
    "resunet on patches": lambda **image: ResUNet(
        1, 16, (9, 12), attention_levels=(), num_heads=3, patch_size=2, **image
    ),
    "dit": lambda **image: DiT(1, 16, width=12, depth=2, num_heads=3, **image),
    "diffusers": lambda **image: DiffusersUNet2D(1, 16, (8, 16), attention_levels=(1,), **image),
    "diffusers_text": lambda **image: DiffusersUNet2DCondition(1, 16, (8, 16), 1, (1,), token_dim=12, **image),
}
TIME = torch.tensor([3.0, 900.0])


def built(name: str, image_channels: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    return BUILD[name](**({} if image_channels is None else {"image_channels": image_channels})).eval()


def spread(network: nn.Module, *, of: str) -> None:
    """Give parameters that start at 0 other values, those whose name contains `of` or, without it, all others."""
    generator = torch.Generator().manual_seed(1)
    for key, parameter in network.named_parameters():
        if not parameter.any() and ("image_in" in key) == (of == "image"):
            nn.init.normal_(parameter, std=0.1, generator=generator)


def cond(name: str, image: Tensor | None = None) -> dict[str, Tensor] | None:
    tokens = {"tokens": torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(2))} if "text" in name else {}
    return (tokens if image is None else {**tokens, "image": image}) or None


@pytest.mark.parametrize("name", list(BUILD))
def test_it_starts_as_the_network_without_and_with_zeros_stays_it_bit_for_bit(name: str) -> None:
    plain, network = built(name), built(name, 2)
    spread(plain, of="others")
    spread(network, of="others")
    x, image = torch.randn(2, 1, 16, 16), torch.randn(2, 2, 16, 16)
    expected = plain(x, TIME, cond(name))
    assert expected.any()
    assert torch.equal(network(x, TIME, cond(name, image)), expected)
    spread(network, of="image")
    assert torch.equal(network(x, TIME, cond(name, torch.zeros(2, 2, 16, 16))), expected)
    assert not torch.equal(network(x, TIME, cond(name, image)), expected)
    new = network.state_dict().keys() - plain.state_dict().keys()
    assert len(new) == 1
    assert next(iter(new)).endswith("image_in.weight")


@pytest.mark.parametrize("name", ["resunet", "diffusers"])
def test_it_equals_one_convolution_of_both_images(name: str) -> None:
    network = built(name, 2)
    spread(network, of="image")
    first = network.inc if name == "resunet" else network.unet.conv_in
    image_in = network.image_in if name == "resunet" else first.image_in
    x, image = torch.randn(2, 1, 16, 16), torch.randn(2, 2, 16, 16)
    weight = torch.cat([first.weight, image_in.weight], dim=1)
    expected = torch.nn.functional.conv2d(torch.cat([x, image], dim=1), weight, first.bias, padding=1)
    found = first(x) + image_in(image) if name == "resunet" else first(torch.cat([x, image], dim=1))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", list(BUILD))
def test_an_image_of_another_shape_is_refused_in_one_line(name: str) -> None:
    network, x = built(name, 2), torch.randn(2, 1, 16, 16)
    for shape in ((2, 1, 16, 16), (2, 2, 8, 8), (1, 2, 16, 16)):
        with pytest.raises(ValueError, match=r"^cond: image of the shape .* takes \(2, 2, 16, 16\)$"):
            network(x, TIME, cond(name, torch.zeros(shape)))
    with pytest.raises(ValueError, match=r"^cond=.*: \w+ takes \[.*'image'"):
        network(x, TIME, cond(name))
