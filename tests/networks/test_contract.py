"""Tests that every network has to pass: dtypes, memory formats, description and rebuilding, independent images, masks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate
from lightdiff.networks import BasicUNet, DiffusersUNet2D, DiffusersUNet2DCondition, DiT, ResUNet, SimpleUNet, UNet

BUILD = {
    "unet": lambda: UNet(1, 16, (6, 9, 12), (1, 2), num_heads=3, cond_dim=8),
    "simple": lambda: SimpleUNet(1, 16, (8, 16, 16), cond_dim=8),
    "basic": lambda: BasicUNet(1, 16, (4, 8)),
    "resunet": lambda: ResUNet(1, 16, (9, 12), attention_levels=(1,), num_heads=3, cond_dim=8, token_dim=12),
    "unet_s": lambda: UNet(1, 16, (6, 9, 12), (1, 2), num_heads=3, cond_dim=8, takes_s=True),
    "resunet_s": lambda: ResUNet(1, 16, (9, 12), attention_levels=(1,), num_heads=3, cond_dim=8, takes_s=True),
    "dit_s": lambda: DiT(1, 16, width=12, depth=2, num_heads=3, cond_dim=8, takes_s=True),
    "dit": lambda: DiT(1, 16, width=12, depth=2, num_heads=3, cond_dim=8, token_dim=12),
    "diffusers": lambda: DiffusersUNet2D(1, 16, (8, 16), attention_levels=(1,), cond_dim=8),
    "diffusers_text": lambda: DiffusersUNet2DCondition(1, 16, (8, 16), 2, (1,), token_dim=12, cond_dim=8),
}
WITH_TOKENS = ("resunet", "dit", "diffusers_text")
TIME = torch.tensor([3.0, 900.0])


def built(name: str) -> tuple[nn.Module, Tensor, dict[str, Tensor] | None]:
    """Return a network without zero parameters, images, and a condition with all keys that it takes."""
    torch.manual_seed(0)
    network = BUILD[name]()
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    everything = {
        "vector": torch.randn(2, 8),
        "tokens": torch.randn(2, 5, 12),
        "mask": torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]]),
    }
    cond = {key: everything[key] for key in network.cond_keys}
    return network.eval(), torch.randn(2, 1, 16, 16), cond or None


@pytest.mark.parametrize("name", list(BUILD))
def test_double_precision_agrees_with_single(name: str) -> None:
    network, x, cond = built(name)
    exact = copy.deepcopy(network).double()
    out = exact(x.double(), TIME.double(), cond and {key: value.double() for key, value in cond.items()})
    assert out.dtype == torch.float64
    torch.testing.assert_close(network(x, TIME, cond), out.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", list(BUILD))
def test_half_precision_stays_close(name: str) -> None:
    network, x, cond = built(name)
    with torch.no_grad():
        exact = network(x, TIME, cond)
        with torch.autocast("cpu", torch.bfloat16):
            out = network(x, TIME, cond)
    assert (out.float() - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("name", list(BUILD))
def test_memory_format_does_not_matter(name: str) -> None:
    network, x, cond = built(name)
    expected = network(x, TIME, cond)
    fast = copy.deepcopy(network).to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        fast(x.to(memory_format=torch.channels_last), TIME, cond), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", list(BUILD))
def test_description_and_weights_rebuild_it(name: str) -> None:
    network, x, cond = built(name)
    again = instantiate(config_of(network), importer=import_safe_target)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(x, TIME, cond), network(x, TIME, cond))


@pytest.mark.parametrize("name", list(BUILD))
def test_every_parameter_is_trained(name: str) -> None:
    network, x, cond = built(name)
    network(x, TIME, cond).square().mean().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", list(BUILD))
def test_each_image_is_on_its_own(name: str) -> None:
    network, x, cond = built(name)
    alone = network(x[1:], TIME[1:], cond and {key: value[1:] for key, value in cond.items()})
    torch.testing.assert_close(network(x, TIME, cond)[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.bool, torch.int64])
@pytest.mark.parametrize("name", WITH_TOKENS)
def test_masks_of_any_type(name: str, kind: torch.dtype) -> None:
    network, x, cond = built(name)
    assert cond is not None
    assert torch.equal(network(x, TIME, {**cond, "mask": cond["mask"].to(kind)}), network(x, TIME, cond))


@pytest.mark.parametrize("name", WITH_TOKENS)
def test_a_caption_of_padding_alone_is_not_nan(name: str) -> None:
    network, x, cond = built(name)
    out = network(x, TIME, {**(cond or {}), "mask": torch.zeros(2, 5)})
    out.square().mean().backward()
    assert out.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("name", [name for name in BUILD if name != "basic"])
def test_a_missing_condition_is_refused(name: str) -> None:
    network, x, _ = built(name)
    with pytest.raises(ValueError, match=rf"cond=\[\]: {type(network).__name__} takes \[") as caught:
        network(x, TIME, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [28, 27, 5])
def test_the_text_network_takes_any_size(side: int) -> None:
    network = DiffusersUNet2DCondition(1, side, (8, 8, 8, 8), token_dim=12)
    assert network(torch.randn(2, 1, side, side), TIME, {"tokens": torch.randn(2, 5, 12)}).shape == (2, 1, side, side)
