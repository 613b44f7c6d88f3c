"""The UNet: the tutorial's parameter counts, its blocks compared with independent implementations, and sizes it refuses."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightdiff.networks import DoubleConv, Down, SelfAttention, UNet, Up
from lightdiff.networks.embedding import sinusoidal_encoding

COUNTS = {
    **{"inc": 37_696, "down1": 295_680, "down2": 1_181_184, "down3": 2_361_344},
    **{"up1": 6_195_968, "up2": 1_549_696, "up3": 406_272, "outc": 65},
    **{"sa1": 395_776, "sa2": 395_776, "sa3": 99_584},
}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(**settings: object) -> UNet:
    torch.manual_seed(0)
    return UNet(**{"image_size": 16, "widths": (8, 12, 16), "attention_levels": (1, 2), "num_heads": 2, **settings})


def test_tutorial_preset_has_the_tutorials_counts() -> None:
    network = UNet()
    assert {name: count(module) for name, module in network.named_children()} == COUNTS
    assert count(network) == 12_919_041


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (3, 8, 20), (2, 4, 4)])
def test_output_has_the_shape_of_the_input(shape: tuple[int, int, int]) -> None:
    network = small(channels=shape[0], image_size=list(shape[1:]))
    assert network.image_shape == shape
    assert network(torch.randn(3, *shape), torch.tensor([0.0, 1.0, 999.0])).shape == (3, *shape)


def double_conv(block: DoubleConv, x: torch.Tensor) -> torch.Tensor:
    """Compute a DoubleConv as the tutorial describes it: conv 3x3, GroupNorm with 1 group, GELU, conv 3x3, GroupNorm."""

    def norm(y: torch.Tensor, layer: nn.GroupNorm) -> torch.Tensor:
        mean, var = y.mean((1, 2, 3), keepdim=True), y.var((1, 2, 3), keepdim=True, unbiased=False)
        return (y - mean) / (var + 1e-5).sqrt() * layer.weight[:, None, None] + layer.bias[:, None, None]

    def gelu(y: torch.Tensor) -> torch.Tensor:
        return y / 2 * (1 + torch.erf(y / math.sqrt(2)))

    conv1, norm1, _, conv2, norm2 = block.layers
    y = gelu(norm(F.conv2d(x, conv1.weight, padding=1), norm1))
    y = norm(F.conv2d(y, conv2.weight, padding=1), norm2)
    return gelu(x + y) if block.residual else y


@pytest.mark.parametrize("residual", [False, True])
def test_double_conv(residual: bool) -> None:
    block = DoubleConv(4, 4 if residual else 6, mid_channels=5, residual=residual).double()
    nn.init.normal_(block.layers[4].weight)
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(block(x), double_conv(block, x))


def test_down_and_up() -> None:
    down, up = Down(4, 6).double(), Up(10, 4).double()
    x, time = torch.randn(2, 4, 8, 12, dtype=torch.float64), torch.tensor([3.0, 700.0], dtype=torch.float64)
    halved = x.unflatten(2, (4, 2)).unflatten(4, (6, 2)).amax((3, 5))
    inner = double_conv(down.layers[2], double_conv(down.layers[1], halved))
    expected = inner + sinusoidal_encoding(time, 6)[:, :, None, None]
    torch.testing.assert_close(down(x, time), expected)

    # bilinear with aligned corners: output i lies at i (n - 1) / (2n - 1) of the input
    def matrix(n: int) -> torch.Tensor:
        at = torch.arange(2 * n, dtype=torch.float64) * (n - 1) / (2 * n - 1)
        return (1 - (at[:, None] - torch.arange(n, dtype=torch.float64)).abs()).clamp(min=0)

    wide = matrix(4) @ expected @ matrix(6).T
    joint = torch.cat([x, wide], dim=1)
    # half of the width of input and skip together
    assert up.layers[1].layers[0].out_channels == 5
    expected = (
        double_conv(up.layers[1], double_conv(up.layers[0], joint)) + sinusoidal_encoding(time, 4)[:, :, None, None]
    )
    torch.testing.assert_close(up(down(x, time), x, time), expected)


def test_self_attention_equals_torchs() -> None:
    block = SelfAttention(12, num_heads=3).double()
    nn.init.normal_(block.qkv.bias)
    nn.init.normal_(block.out.bias)
    reference = nn.MultiheadAttention(12, 3, batch_first=True).double()
    reference.load_state_dict(
        {
            "in_proj_weight": block.qkv.weight,
            "in_proj_bias": block.qkv.bias,
            "out_proj.weight": block.out.weight,
            "out_proj.bias": block.out.bias,
        }
    )
    x = torch.randn(2, 12, 3, 5, dtype=torch.float64)
    tokens = x.flatten(2).transpose(1, 2)
    normed = F.layer_norm(tokens, (12,), block.norm.weight, block.norm.bias)
    tokens = tokens + reference(normed, normed, normed, need_weights=False)[0]
    expected = (tokens + block.mlp(tokens)).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(block(x), expected)


def test_encoding_has_the_closed_form() -> None:
    time = torch.tensor([0.0, 1.0, 437.5, 999.0], dtype=torch.float64)
    encoding = sinusoidal_encoding(time, 6)
    for row, t in zip(encoding.tolist(), time.tolist(), strict=True):
        frequencies = [10_000.0 ** (-k / 3) for k in range(3)]
        assert row == pytest.approx([*(math.sin(t * f) for f in frequencies), *(math.cos(t * f) for f in frequencies)])
    assert sinusoidal_encoding(time, 7).shape == (4, 7)


def test_neighbouring_timesteps_differ_under_autocast() -> None:
    network = small()
    x = torch.randn(1, 1, 16, 16).expand(2, -1, -1, -1)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        first, second = network(x, torch.tensor([998.0, 999.0]))
    assert (first != second).any()


def test_without_time_nothing_is_added() -> None:
    block = Down(4, 6)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(block(x), block.layers(x))
    assert small()(torch.randn(2, 1, 16, 16), None).shape == (2, 1, 16, 16)


def test_condition_begins_without_effect_and_can_be_learned() -> None:
    network = small(cond_dim=5)
    x, time, vector = torch.randn(2, 1, 16, 16), torch.tensor([1.0, 2.0]), torch.randn(2, 5)
    assert network.cond_keys == ("vector",)
    assert torch.equal(network(x, time, {"vector": vector}), network(x, time, {"vector": 0 * vector}))
    network(x, time, {"vector": vector}).square().mean().backward()
    assert all(m.condition.weight.grad.abs().sum() > 0 for m in network.modules() if isinstance(m, Down | Up))
    plain = count(small())
    assert count(network) == plain + sum(
        (5 + 1) * m.out_channels for m in network.modules() if isinstance(m, Down | Up)
    )


def test_conditions_it_does_not_take_are_refused() -> None:
    x = torch.randn(1, 1, 16, 16)
    with pytest.raises(ValueError, match=r"cond=\['vector'\]: UNet takes no condition"):
        small()(x, None, {"vector": torch.zeros(1, 5)})
    with pytest.raises(ValueError, match=r"cond=\['tokens'\]: UNet takes \['vector'\]"):
        small(cond_dim=5)(x, None, {"tokens": torch.zeros(1, 2, 5)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 28}, "image_size=28: this network needs multiples of 8; nearest sizes: 24 and 32"),
        ({"image_size": [32, 20]}, r"image_size=\[32, 20\].*nearest sizes: \[32, 16\] and \[32, 24\]"),
        ({"image_size": 5}, "image_size=5: .*nearest sizes: 8"),
        ({"image_size": 0}, "image_size=0"),
        ({"widths": [64]}, r"widths=\[64\]"),
        ({"widths": [64, 0, 8, 8]}, r"widths=\[64, 0, 8, 8\]"),
        ({"attention_levels": [4]}, r"attention_levels=\[4\]: levels in 0\.\.3"),
        ({"num_heads": 3}, "num_heads=3: it must divide the width 256"),
        ({"channels": 0}, "channels=0"),
        ({"cond_dim": 0}, "cond_dim=0"),
    ],
)
def test_what_it_cannot_be_is_refused_when_built(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        UNet(**settings)
    assert "\n" not in str(caught.value)


def test_memory_format_copies_and_state() -> None:
    network = small()
    x, time = torch.randn(2, 1, 16, 16), torch.tensor([5.0, 6.0])
    expected = network(x, time)
    fast = copy.deepcopy(network).to(memory_format=torch.channels_last)
    torch.testing.assert_close(fast(x.to(memory_format=torch.channels_last), time), expected)
    again = small()
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x, time), expected)
