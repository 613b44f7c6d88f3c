"""The blocks of the networks other than UNet, compared with independent implementations.

A parameter count would not show a wrong order of layers.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.networks import BasicUNet, DiffusersUNet2D, DiffusersUNet2DCondition, DiT, ResUNet, SimpleUNet
from lightdiff.networks.attention import CrossAttention
from lightdiff.networks.dit import DiTBlock
from lightdiff.networks.embedding import sinusoidal_encoding
from lightdiff.networks.resunet import AttentionBlock, ResBlock
from lightdiff.networks.simple_unet import SimpleBlock


def random(module: nn.Module) -> nn.Module:
    """Return the module in float64 and eval mode, with random parameters and running statistics."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    for name, buffer in module.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 2.0)
    return module.double().eval()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def batch_norm(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Compute attention for one head and one image at a time. Padding is cut off instead of masked."""
    images = []
    for b in range(len(query)):
        kept = slice(None) if mask is None else mask[b] > 0
        parts = zip(
            query[b].chunk(heads, -1), key[b][kept].chunk(heads, -1), value[b][kept].chunk(heads, -1), strict=True
        )
        images.append(torch.cat([(q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v for q, k, v in parts], dim=-1))
    return torch.stack(images)


@pytest.mark.parametrize("up", [False, True])
def test_simple_block(up: bool) -> None:
    block = random(SimpleBlock(4, 6, 5, up=up))
    x, embedding = draw(2, 4, 8, 6), draw(2, 5)
    first = batch_norm(F.conv2d(x, block.conv1.weight, block.conv1.bias, padding=1).clamp(min=0), block.norm1)
    told = (embedding @ block.embed.weight.T + block.embed.bias).clamp(min=0)
    second = F.conv2d(first + told[:, :, None, None], block.conv2.weight, block.conv2.bias, padding=1)
    second = batch_norm(second.clamp(min=0), block.norm2)
    resize = F.conv_transpose2d if up else F.conv2d
    expected = resize(second, block.resize.weight, block.resize.bias, stride=2, padding=1)
    torch.testing.assert_close(block(x, embedding), expected)
    assert expected.shape == ((2, 6, 16, 12) if up else (2, 6, 4, 3))


def test_simple_unet_joins_each_skip_with_its_own_level() -> None:
    network = random(SimpleUNet(2, (8, 16), (4, 6, 8), embed_dim=8, cond_dim=3))
    x, time, vector = draw(2, 2, 8, 16), torch.tensor([3.0, 250.0], dtype=torch.float64), draw(2, 3)
    told = network.time[0](sinusoidal_encoding(time, 8)).clamp(min=0) + network.condition(vector)
    high = network.downs[0](network.inc(x), told)
    low = network.downs[1](high, told)
    back = network.ups[0](torch.cat([low, low], dim=1), told)
    expected = network.outc(network.ups[1](torch.cat([back, high], dim=1), told))
    torch.testing.assert_close(network(x, time, {"vector": vector}), expected)


def test_basic_unet() -> None:
    network = random(BasicUNet(2, (8, 12), (3, 4, 5), kernel_size=3))
    x = draw(2, 2, 8, 12)

    def convolved(y: Tensor, layer: nn.Conv2d) -> Tensor:
        return F.conv2d(y, layer.weight, layer.bias, padding=1)

    def halved(y: Tensor) -> Tensor:
        return y.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))

    def doubled(y: Tensor) -> Tensor:
        return y.repeat_interleave(2, 2).repeat_interleave(2, 3)

    down1, down2, down3 = network.downs
    up1, up2, up3 = network.ups
    high = silu(convolved(x, down1))
    middle = silu(convolved(halved(high), down2))
    low = silu(convolved(halved(middle), down3))
    middle = doubled(silu(convolved(low, up1))) + middle
    high = doubled(silu(convolved(middle, up2))) + high
    # the output is linear; the tutorial has one more activation
    expected = convolved(high, up3)
    torch.testing.assert_close(network(x), expected)
    # the time is ignored
    torch.testing.assert_close(network(x, torch.tensor([1.0, 900.0])), expected)


@pytest.mark.parametrize("out_channels", [8, 12])
def test_residual_block(out_channels: int) -> None:
    block = random(ResBlock(8, out_channels, 5, dropout=0.5))
    x, embedding = draw(2, 8, 4, 6), draw(2, 5)

    def normed(y: Tensor, norm: nn.GroupNorm) -> Tensor:
        groups = y.unflatten(1, (norm.num_groups, -1))
        mean, var = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), keepdim=True, unbiased=False)
        y = ((groups - mean) / (var + norm.eps).sqrt()).flatten(1, 2)
        return y * norm.weight[:, None, None] + norm.bias[:, None, None]

    h = F.conv2d(silu(normed(x, block.norm1)), block.conv1.weight, block.conv1.bias, padding=1)
    told = (silu(embedding) @ block.embed.weight.T + block.embed.bias)[:, :, None, None]
    h = silu(normed(h, block.norm2) * (1 + told[:, :out_channels]) + told[:, out_channels:])
    h = F.conv2d(h, block.conv2.weight, block.conv2.bias, padding=1)
    skip = x if out_channels == 8 else F.conv2d(x, block.skip.weight, block.skip.bias)
    torch.testing.assert_close(block(x, embedding), skip + h)


@pytest.mark.parametrize("masked", [False, True])
def test_cross_attention(masked: bool) -> None:
    block = random(CrossAttention(6, 5, num_heads=3))
    x, tokens = draw(2, 4, 6), draw(2, 7, 5)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]]) if masked else None
    query = F.layer_norm(x, (6,), block.norm.weight, block.norm.bias) @ block.query.weight.T + block.query.bias
    both = tokens @ block.key_value.weight.T + block.key_value.bias
    read = attention(query, both[..., :6], both[..., 6:], 3, mask)
    torch.testing.assert_close(block(x, tokens, mask), read @ block.out.weight.T + block.out.bias)


def test_attention_block_looks_at_pixels_then_at_tokens() -> None:
    block = random(AttentionBlock(6, 3, token_dim=5))
    x, tokens = draw(2, 6, 3, 4), draw(2, 7, 5)
    pixels = block.norm(x).permute(0, 2, 3, 1).reshape(2, 12, 6)
    q, k, v = (pixels @ block.qkv.weight.T + block.qkv.bias).split(6, dim=-1)
    h = x.permute(0, 2, 3, 1).reshape(2, 12, 6) + block.out(attention(q, k, v, 3))
    h = h + block.cross(h, tokens)
    torch.testing.assert_close(block(x, {"tokens": tokens}), h.reshape(2, 3, 4, 6).permute(0, 3, 1, 2))


def test_dit_block() -> None:
    block = random(DiTBlock(8, 2, token_dim=None))
    x, embedding = draw(2, 5, 8), draw(2, 8)
    told = silu(embedding) @ block.modulation.weight.T + block.modulation.bias
    shift1, scale1, gate1, shift2, scale2, gate2 = (told[:, None, 8 * i : 8 * (i + 1)] for i in range(6))

    def normed(y: Tensor) -> Tensor:
        return (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()

    q, k, v = block.qkv(normed(x) * (1 + scale1) + shift1).split(8, dim=-1)
    h = x + gate1 * block.out(attention(q, k, v, 2))
    expected = h + gate2 * block.mlp(normed(h) * (1 + scale2) + shift2)
    torch.testing.assert_close(block(x, embedding, {}), expected)


def test_dit_block_begins_as_the_identity() -> None:
    block, x = DiTBlock(8, 2, token_dim=4), torch.randn(2, 5, 8)
    assert torch.equal(block(x, torch.randn(2, 8), {"tokens": torch.randn(2, 3, 4)}), x)


@pytest.mark.parametrize(("network", "side"), [(DiT, 4), (ResUNet, 4)])
def test_a_patch_comes_back_to_its_place(network: type[nn.Module], side: int) -> None:
    settings = {"width": 16, "depth": 1} if network is DiT else {"widths": (16,), "attention_levels": ()}
    built = random(network(1, (8, 12), patch_size=side, num_heads=2, **settings))
    # only the first value of each patch's output is not 0
    for parameter in built.outc.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(built.outc.bias[:1])
    expected = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    expected[..., ::side, ::side] = 1
    torch.testing.assert_close(built(draw(1, 1, 8, 12)), expected)


def test_diffusers_networks_are_the_tutorials() -> None:
    """Compare with diffusers' classes, built with the settings of the tutorials diffusing_digits, toy and text_to_digit."""
    diffusers = pytest.importorskip("diffusers")
    plain = {"in_channels": 1, "out_channels": 1, "layers_per_block": 2}
    with torch.device("meta"):
        pairs = [
            (
                DiffusersUNet2D(),
                diffusers.UNet2DModel(
                    **plain,
                    sample_size=(32, 32),
                    block_out_channels=(128, 128, 256, 512),
                    down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                    up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
                ),
            ),
            (
                DiffusersUNet2D(image_size=28, widths=(32, 64, 64), attention_levels=(1, 2)),
                diffusers.UNet2DModel(
                    **plain,
                    sample_size=(28, 28),
                    block_out_channels=(32, 64, 64),
                    down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
                    up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
                ),
            ),
            (
                DiffusersUNet2DCondition(),
                diffusers.UNet2DConditionModel(
                    **plain,
                    sample_size=(28, 28),
                    block_out_channels=(32, 64, 64, 32),
                    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                    cross_attention_dim=512,
                ),
            ),
        ]
    for adapter, reference in pairs:
        ours, theirs = dict(adapter.unet.config), dict(reference.config)
        assert {key: ours[key] for key in ours if not key.startswith("_")} == {
            key: theirs[key] for key in theirs if not key.startswith("_")
        }
