"""The log density by the probability flow: closed forms on every schedule, and both ways to the trace."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightdiff.conditioning import LabelConditioner
from lightdiff.core import Denoiser, FlowSchedule, NoiseSchedule, VPrediction
from lightdiff.likelihood import log_likelihood
from lightdiff.networks import UNet
from mixtures import Mixture
from oracles import SCHEDULES, GaussianDenoiser, gaussian_data, noise, slope


@pytest.mark.parametrize("name", SCHEDULES)
def test_of_gaussian_data_it_is_the_normal_density_with_an_error_of_second_order(name: str) -> None:
    data = gaussian_data(SCHEDULES[name])
    x0 = data.mean + data.std * noise(8)
    exact = torch.distributions.Normal(data.mean, data.std).log_prob(x0).flatten(1).sum(1)
    steps = (25, 50, 100)
    errors = [(log_likelihood(data, x0, num_steps=count) - exact).abs().max().item() for count in steps]
    assert errors[-1] < 1e-3 and 1.9 < slope(steps, errors) < 2.2


@pytest.mark.parametrize("name", ["flow", "cosine", "edm"])
def test_of_a_mixture_it_is_the_density_of_the_mixture(name: str) -> None:
    mixture = Mixture(SCHEDULES[name], (0.2, 0.5, 0.35))
    x0 = mixture.means[[0, 1, 2, 2]] + 0.3 * noise()
    errors = [
        (log_likelihood(mixture, x0, num_steps=count) - mixture.log_density(x0)).abs().max() for count in (50, 150)
    ]
    assert errors[1] < 5e-3 and errors[1] < errors[0] / 7


class Correlated:
    """The best denoiser of Gaussian images whose six pixels depend on each other."""

    schedule: NoiseSchedule = SCHEDULES["cosine"]

    def __init__(self) -> None:
        factor = 0.5 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.mean, self.covariance = noise(1, seed=4).flatten(), factor @ factor.T + 0.02 * torch.eye(6)

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Tensor:
        at = self.schedule.exact(t[:1])
        noisy = at.alpha**2 * self.covariance + at.sigma**2 * torch.eye(6)
        gain = at.alpha * torch.linalg.solve(noisy, self.covariance)
        return (self.mean + (x_t.flatten(1) - at.alpha * self.mean) @ gain).view_as(x_t)


def test_hutchinsons_trace_agrees_with_the_exact_one_in_the_mean() -> None:
    data = Correlated()
    normal = torch.distributions.MultivariateNormal(data.mean, data.covariance)
    x0 = normal.mean + noise(1).flatten() @ torch.linalg.cholesky(data.covariance).T
    exact = log_likelihood(data, x0.view(1, 1, 2, 3), num_steps=40)
    torch.testing.assert_close(exact, normal.log_prob(x0)[None], rtol=0, atol=2e-2)
    many = x0.view(1, 1, 2, 3).expand(2000, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    found = log_likelihood(data, many, num_steps=40, trace="hutchinson", generator=generator)
    assert found.std() > 0.1
    assert (found.mean() - exact).abs() < 4 * found.std() / math.sqrt(2000)
    again = log_likelihood(data, many, num_steps=40, trace="hutchinson", generator=torch.Generator().manual_seed(0))
    assert torch.equal(found, again)


def test_a_network_is_computed_in_float64_and_stays_as_it_is() -> None:
    torch.manual_seed(0)
    network = UNet(channels=1, image_size=4, widths=(4, 4), attention_levels=(), num_heads=1, cond_dim=3)
    denoiser = Denoiser(network, FlowSchedule(), VPrediction(), LabelConditioner(2, cond_dim=3))
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    x0 = torch.rand(2, 1, 4, 4) - 0.5
    cond = denoiser.conditioner(torch.tensor([0, 1]))  # type: ignore[misc]
    found = log_likelihood(denoiser, x0, num_steps=10, cond=cond)
    assert found.shape == (2,) and found.dtype == torch.float64 and not found.requires_grad
    assert denoiser.training and next(network.parameters()).dtype == torch.float32
    with torch.inference_mode():
        copies = {name: value.clone() for name, value in cond.items()}
        assert torch.equal(log_likelihood(denoiser, x0.clone(), num_steps=10, cond=copies), found)
    # each image has its own density, whatever the others are, and the condition matters
    alone = log_likelihood(denoiser, x0[1:], num_steps=10, cond={"vector": cond["vector"][1:]})
    torch.testing.assert_close(alone, found[1:], rtol=1e-9, atol=1e-9)
    other = log_likelihood(denoiser, x0, num_steps=10, cond={"vector": cond["vector"].flip(0)})
    assert not torch.allclose(other, found)


class OneWay(FlowSchedule):
    """A schedule without an inverse."""

    _time_of = NoiseSchedule._time_of


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps=0: a whole number of 1 or more"),
        ({"num_steps": 2.5}, r"num_steps=2\.5"),
        ({"num_steps": 2, "trace": "skilling"}, "trace=skilling: choices: exact, hutchinson"),
        ({"num_steps": 2, "x0": noise()[0]}, r"x0=torch.float64 \[1, 2, 3\]: floating-point images"),
        ({"num_steps": 2, "denoiser": GaussianDenoiser(OneWay())}, "denoiser: OneWay has no inverse"),
    ],
)
def test_refusals(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        log_likelihood(**{"denoiser": gaussian_data(SCHEDULES["flow"]), "x0": noise(), **settings})
