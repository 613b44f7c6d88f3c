"""Networks with takes_s=True: they start as the network that they were made from, and equal it wherever s is t."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lightdiff.core import Denoiser, FlowPrediction, FlowSchedule
from lightdiff.networks import DiT, ResUNet, UNet
from lightdiff.networks.embedding import JumpEmbedding, sinusoidal_encoding

BUILD = {
    "unet": lambda takes_s: UNet(1, 16, (6, 9, 12), (1, 2), num_heads=3, cond_dim=8, takes_s=takes_s),
    "resunet": lambda takes_s: ResUNet(
        1, 16, (9, 12), attention_levels=(1,), num_heads=3, cond_dim=8, token_dim=12, takes_s=takes_s
    ),
    "dit": lambda takes_s: DiT(1, 16, width=12, depth=2, num_heads=3, cond_dim=8, token_dim=12, takes_s=takes_s),
}
TIME, S = torch.tensor([300.0, 900.0]), torch.tensor([0.0, 870.0])


def pair(name: str) -> tuple[nn.Module, nn.Module, Tensor, dict[str, Tensor]]:
    """Return a network with random weights, one with takes_s that was made from it, images and a condition."""
    torch.manual_seed(0)
    plain, network = BUILD[name](False).eval(), BUILD[name](True).eval()
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.2)
    missing, unexpected = network.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == [] and missing != [] and all(".jump." in key or "jump." in key for key in missing)
    everything = {"vector": torch.randn(2, 8), "tokens": torch.randn(2, 5, 12), "mask": torch.ones(2, 5)}
    return plain, network, torch.randn(2, 1, 16, 16), {key: everything[key] for key in network.cond_keys}


def trained(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, JumpEmbedding):
            nn.init.normal_(module.out.weight, std=0.2)


@pytest.mark.parametrize("name", list(BUILD))
@pytest.mark.parametrize("training", [False, True])
def test_it_starts_where_the_old_weights_are_bit_for_bit(name: str, training: bool) -> None:
    plain, network, x, cond = pair(name)
    plain.train(training), network.train(training)
    expected = plain(x, TIME, cond)
    assert expected.abs().max() > 0.1
    for s in (None, TIME, S):
        assert torch.equal(network(x, TIME, cond, s=s), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(x, TIME, cond, s=S), plain(x, TIME, cond))


@pytest.mark.parametrize("name", list(BUILD))
def test_after_training_s_matters_and_at_t_it_is_still_the_old_network(name: str) -> None:
    plain, network, x, cond = pair(name)
    trained(network)
    for s in (None, TIME):
        assert torch.equal(network(x, TIME, cond, s=s), plain(x, TIME, cond))
    jump = network(x, TIME, cond, s=S)
    assert ((jump - plain(x, TIME, cond)).abs().amax((1, 2, 3)) > 1e-3).all()
    alone = network(x[1:], TIME[1:], {key: value[1:] for key, value in cond.items()}, s=S[1:])
    torch.testing.assert_close(jump[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(BUILD))
def test_it_can_learn_from_where_it_starts(name: str) -> None:
    _, network, x, cond = pair(name)
    network(x, TIME, cond, s=S).square().mean().backward()
    jumps = [module for module in network.modules() if isinstance(module, JumpEmbedding)]
    assert len(jumps) == (4 if name == "unet" else 1)
    assert all(module.out.weight.grad is not None and module.out.weight.grad.any() for module in jumps)


@pytest.mark.parametrize("name", list(BUILD))
def test_without_takes_s_nothing_is_added_and_s_is_ignored(name: str) -> None:
    plain, _, x, cond = pair(name)
    assert not any("jump" in key for key in plain.state_dict())
    assert torch.equal(plain(x, TIME, cond, s=S), plain(x, TIME, cond))


def test_the_embedding_of_a_jump_is_its_formula() -> None:
    torch.manual_seed(0)
    module = JumpEmbedding(6, 4).double()
    nn.init.normal_(module.out.weight)
    time, s = TIME.double(), S.double()

    def hidden(at: Tensor) -> Tensor:
        a = sinusoidal_encoding(at, 6) @ module.hidden.weight.T + module.hidden.bias
        return a / (1 + (-a).exp())

    expected = (hidden(s) - hidden(time)) @ module.out.weight.T
    torch.testing.assert_close(module(time, s, torch.float64), expected, rtol=0, atol=1e-12)
    assert (module(time, time, torch.float64) == 0).all()


def test_a_denoiser_hands_s_to_its_network() -> None:
    _, network, x, cond = pair("dit")
    trained(network)
    denoiser = Denoiser(network, FlowSchedule(), FlowPrediction())
    t, s = torch.tensor([0.3, 0.9]), torch.tensor([0.0, 0.87])
    velocity = network(x, 1000 * t, cond, s=1000 * s)
    torch.testing.assert_close(denoiser(x, t, cond, s), x - t[:, None, None, None] * velocity)
