"""SimpleUNet with other normalisations and activations: against formulas written out, described, refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import ConfigError, instantiate
from lightdiff.networks import SimpleUNet
from lightdiff.networks.simple_unet import SimpleBlock
from runs import composed

SMALL = {"channels": 1, "image_size": 16, "widths": (32, 64)}
FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "silu": lambda x: x / (1 + (-x).exp()),
    "gelu": lambda x: x * (1 + (x / math.sqrt(2)).erf()) / 2,
}


def normalised(x: Tensor, norm: str) -> Tensor:
    """In training mode with weights 1 and biases 0. `group`: of 32 channels two groups of 16."""
    if norm == "none":
        return x
    dims, parts = ((0, 2, 3), x) if norm == "batch" else ((2, 3, 4), x.unflatten(1, (2, 16)))
    mean, variance = parts.mean(dims, keepdim=True), parts.var(dims, keepdim=True, unbiased=False)
    return ((parts - mean) / (variance + 1e-5).sqrt()).reshape(x.shape)


@pytest.mark.parametrize("activation", list(FORMULAS))
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_block_normalises_and_activates_as_it_is_told(norm: str, activation: str) -> None:
    torch.manual_seed(0)
    block = SimpleBlock(4, 32, 5, up=False, norm=norm, activation=activation).double()
    act = FORMULAS[activation]
    x, embedding = torch.randn(3, 4, 8, 8, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    first = normalised(act(F.conv2d(x, block.conv1.weight, block.conv1.bias, padding=1)), norm)
    first = first + act(embedding @ block.embed.weight.T + block.embed.bias)[:, :, None, None]
    second = normalised(act(F.conv2d(first, block.conv2.weight, block.conv2.bias, padding=1)), norm)
    expected = F.conv2d(second, block.resize.weight, block.resize.bias, stride=2, padding=1)
    torch.testing.assert_close(block(x, embedding), expected)


def test_the_weights_have_the_same_names_and_numbers_as_before() -> None:
    with torch.device("meta"):
        plain, smooth = SimpleUNet(), SimpleUNet(norm="group", activation="silu")
    numbers = [sum(p.numel() for p in network.parameters()) for network in (plain, smooth)]
    assert numbers == [62_438_883, 62_438_883]
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in smooth.named_parameters()]
    assert not any("activation" in name for name in plain.state_dict())
    assert sum(isinstance(module, nn.ReLU) for module in plain.modules()) == 8 + 1
    assert sum(isinstance(module, nn.SiLU) for module in smooth.modules()) == 8 + 1
    assert sum(isinstance(module, nn.GroupNorm) for module in smooth.modules()) == 16


def test_without_batch_norm_an_image_does_not_depend_on_the_others_in_training_either() -> None:
    x, time = torch.randn(4, 1, 16, 16), torch.arange(4.0)
    alone = {}
    for norm in ("batch", "group", "none"):
        network = SimpleUNet(**SMALL, norm=norm)
        alone[norm] = torch.allclose(network(x, time)[:1], network(x[:1], time[:1]), atol=1e-5)
    assert alone == {"batch": False, "group": True, "none": True}


def test_a_checkpoint_describes_them() -> None:
    described = config_of(SimpleUNet(**SMALL, norm="group", activation="gelu"))
    assert (described["norm"], described["activation"]) == ("group", "gelu")
    rebuilt = instantiate(described)
    assert (rebuilt.norm, rebuilt.activation) == ("group", "gelu")
    # the files of older releases do not say
    old = instantiate({key: value for key, value in described.items() if key not in ("norm", "activation")})
    assert (old.norm, old.activation) == ("batch", "relu")


@pytest.mark.parametrize(
    ("setting", "in_python", "in_a_configuration"),
    [
        ("norm=layer", "norm=layer: choices: batch, group, none", "model.norm=layer: one of batch, group, none is"),
        (
            "activation=tanh",
            "activation=tanh: choices: relu, silu, gelu",
            "model.activation=tanh: one of relu, silu, gelu is",
        ),
    ],
)
def test_unknown_names_are_refused_with_the_choices(setting: str, in_python: str, in_a_configuration: str) -> None:
    name, value = setting.split("=")
    with pytest.raises(ValueError, match=f"^{in_python}$"):
        SimpleUNet(**SMALL, **{name: value})
    with pytest.raises(ConfigError, match=rf"^{in_a_configuration} expected$"):
        instantiate(composed("model=simple_unet", f"model.{setting}")["model"], key="model")
