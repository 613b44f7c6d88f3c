"""The networks other than UNet: parameter counts, shapes, conditions, and arguments that are refused."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from lightdiff.networks import BasicUNet, DiffusersUNet2D, DiffusersUNet2DCondition, DiT, ResUNet, SimpleUNet

VECTOR, TOKENS, MASK = (
    torch.randn(2, 8),
    torch.randn(2, 5, 12),
    torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).float(),
)
SMALL: dict[str, dict] = {
    "simple": {"image_size": 16, "widths": (8, 16, 16)},
    "basic": {"image_size": 16, "widths": (4, 8)},
    "resunet": {"image_size": 16, "widths": (8, 16), "attention_levels": (1,), "num_heads": 2},
    "dit": {"image_size": 16, "width": 16, "depth": 2, "num_heads": 2},
    "diffusers": {"image_size": 16, "widths": (8, 16), "attention_levels": (1,)},
}
CLASSES: dict[str, type[nn.Module]] = {
    **{"simple": SimpleUNet, "basic": BasicUNet, "resunet": ResUNet, "dit": DiT, "diffusers": DiffusersUNet2D}
}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def awake(network: nn.Module) -> nn.Module:
    """Return the network with random values in its zero-initialised layers, so that its output is not 0."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (SimpleUNet, 62_438_883),
        (BasicUNet, 309_057),
        (lambda: DiffusersUNet2D(image_size=28, widths=(32, 64, 64), attention_levels=(1, 2)), 1_707_009),
    ],
)
def test_tutorials_presets_have_their_counts(build: type[nn.Module], expected: int) -> None:
    with torch.device("meta"):
        assert count(build()) == expected


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (3, 8, 32)])
@pytest.mark.parametrize("name", list(CLASSES))
def test_output_has_the_shape_of_the_input(name: str, shape: tuple[int, int, int]) -> None:
    network = CLASSES[name](**{**SMALL[name], "channels": shape[0], "image_size": list(shape[1:])})
    assert network.image_shape == shape
    for time in (torch.tensor([0.0, 999.0]), None):
        assert network(torch.randn(2, *shape), time).shape == (2, *shape)


@pytest.mark.parametrize("name", ["simple", "resunet", "dit", "diffusers"])
def test_time_and_vector_matter(name: str) -> None:
    network = awake(CLASSES[name](**{**SMALL[name], "channels": 1}, cond_dim=8))
    assert network.cond_keys == ("vector",)
    x = torch.randn(2, 1, 16, 16)
    early, late = (network(x, torch.full((2,), t), {"vector": VECTOR}) for t in (10.0, 900.0))
    other = network(x, torch.full((2,), 10.0), {"vector": -VECTOR})
    assert (early - late).abs().max() > 1e-4
    assert (early - other).abs().max() > 1e-4
    with pytest.raises(ValueError, match=r"cond=\['tokens'\]"):
        network(x, None, {"tokens": TOKENS})


@pytest.mark.parametrize(
    "network",
    [
        ResUNet(1, **SMALL["resunet"], token_dim=12),
        DiT(1, **SMALL["dit"], token_dim=12),
        DiffusersUNet2DCondition(1, 16, (8, 16), attention_levels=(1,), token_dim=12),
    ],
    ids=lambda network: type(network).__name__,
)
def test_tokens_matter_and_masked_ones_do_not(network: nn.Module) -> None:
    awake(network)
    x, time = torch.randn(2, 1, 16, 16), torch.tensor([5.0, 500.0])

    def out(tokens: Tensor) -> Tensor:
        return network(x, time, {"tokens": tokens, "mask": MASK})

    changed, hidden = TOKENS.clone(), TOKENS.clone()
    changed[0, 0] += 1
    hidden[0, 3:] += 100
    assert (out(changed) - out(TOKENS))[0].abs().max() > 1e-5
    torch.testing.assert_close(out(hidden), out(TOKENS))


@pytest.mark.parametrize("name", ["resunet", "dit"])
def test_outputs_start_at_zero(name: str) -> None:
    network = CLASSES[name](**{**SMALL[name], "channels": 1})
    assert (network(torch.randn(2, 1, 16, 16), torch.tensor([1.0, 2.0])) == 0).all()


def test_residual_blocks_begin_as_their_skip() -> None:
    network = ResUNet(1, **SMALL["resunet"])
    x = torch.randn(2, 8, 16, 16)
    block = network.down_stages[0][0].block
    assert torch.equal(block(x, torch.randn(2, 32)), x)


def test_patches_are_folded_and_unfolded() -> None:
    settings = {**SMALL["resunet"], "attention_levels": ()}
    folded = awake(ResUNet(3, patch_size=4, **settings))
    assert folded.inc.in_channels == 48
    assert folded(torch.randn(2, 3, 16, 16), torch.tensor([1.0, 2.0])).shape == (2, 3, 16, 16)


def test_dit_knows_where_a_patch_is() -> None:
    network = DiT(1, image_size=[8, 16], patch_size=2, width=16, depth=1, num_heads=2)
    assert network.positions.shape == (4 * 8, 16)
    assert len({tuple(row.tolist()) for row in network.positions}) == 32
    assert "positions" not in network.state_dict()


def test_batch_norm_is_what_eval_mode_makes_it() -> None:
    network = SimpleUNet(1, **SMALL["simple"]).eval()
    x, time = torch.randn(4, 1, 16, 16), torch.arange(4.0)
    torch.testing.assert_close(network(x, time)[:1], network(x[:1], time[:1]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SimpleUNet(image_size=40), "image_size=40: .*multiples of 16; nearest sizes: 32 and 48"),
        (lambda: BasicUNet(image_size=30), "image_size=30: .*nearest sizes: 28 and 32"),
        (lambda: BasicUNet(kernel_size=4), "kernel_size=4"),
        (lambda: ResUNet(image_size=28, patch_size=4), "image_size=28: .*multiples of 16"),
        (lambda: ResUNet(widths=(30,), attention_levels=(0,), num_heads=4), "num_heads=4: .*30"),
        (lambda: ResUNet(attention_levels=(3,)), r"attention_levels=\[3\]: levels in 0\.\.2"),
        (lambda: ResUNet(dropout=1.0), r"dropout=1\.0"),
        (lambda: DiT(image_size=28, patch_size=8), "image_size=28: .*nearest sizes: 24 and 32"),
        (lambda: DiT(width=30), "width=30: a multiple of 4"),
        (lambda: DiT(width=32, num_heads=5), "num_heads=5: it must divide width=32"),
        (lambda: DiffusersUNet2D(image_size=28), "image_size=28: .*nearest sizes: 24 and 32"),
        (lambda: DiffusersUNet2D(widths=(12, 20)), r"widths=\[12, 20\]: multiples of 8"),
    ],
)
def test_refusals(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r"needs the extra diffusers, which is not installed"):
        DiffusersUNet2D()
