"""Rules, networks and random jumps for the tests of flow maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightdiff.core import (
    Denoiser,
    DiscreteRule,
    EDMPrediction,
    EpsilonPrediction,
    FlowMapObjective,
    FlowPrediction,
    Jumps,
    MeanFlowRule,
    ShortcutRule,
    VPrediction,
    X0Prediction,
    keyed_generator,
)
from lightdiff.core.jumps import jump
from lightdiff.networks import DiT, ResUNet
from oracles import SCHEDULES, times

RULES = {"discrete": DiscreteRule((0.875,)), "shortcut": ShortcutRule(), "mean_flow": MeanFlowRule()}
PREDICTIONS = {
    "epsilon": EpsilonPrediction(),
    "x0": X0Prediction(),
    "v": VPrediction(),
    "flow": FlowPrediction(),
    "edm": EDMPrediction(),
}
T, S = times(0.95, 0.5, 0.31, 0.7, 0.9), times(0.2, 0.5, 0.0, 0.69, 0.899)
"""Long and short jumps, one to the image, and one of no length."""

BETWEEN = times(0.9503, 0.5004, 0.3107, 0.7002, 0.90041)
"""Times that lie between the timesteps of discrete schedules, where alphas_cumprod has a derivative."""

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resunet": lambda: ResUNet(1, 8, (8, 16), attention_levels=(0, 1), num_heads=2, group_channels=2, takes_s=True),
    "dit": lambda: DiT(1, 8, width=16, depth=2, num_heads=2, takes_s=True),
}


def random_denoiser(network: str, schedule: str, prediction: str, time_input: str | None = None) -> Denoiser:
    """Return a denoiser of a small network with random weights in float64."""
    torch.manual_seed(0)
    built = NETWORKS[network]().double()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.2)
    usual = {"timestep": "t"}.get(SCHEDULES[schedule].time_input, SCHEDULES[schedule].time_input)
    return Denoiser(built, SCHEDULES[schedule], PREDICTIONS[prediction], time_input=time_input or usual)


def random_jumps(denoiser: Denoiser) -> Jumps:
    """Return 5 jumps of random images (5, 1, 8, 8) in random directions."""
    x_t, D = torch.randn(2, 5, 1, 8, 8, generator=keyed_generator("cpu", "images"), dtype=torch.float64)
    return Jumps(denoiser, x_t, BETWEEN, S, D)


def derivative_by_differences(jumps: Jumps, h: float = 1e-6) -> Tensor:
    """Return dX/dtau (B, ...) along the line from the direction through x_t, by central differences of order 4."""
    schedule, total = jumps.denoiser.schedule, torch.zeros_like(jumps.x_t)
    at_t = schedule.exact(jumps.t)
    for steps, weight in ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12)):
        r = schedule.t_from_flow_time(at_t.flow_time + steps * h)
        x_r = jump(jumps.x_t, jumps.direction, at_t, schedule.exact(r))
        total += weight / h * jumps.denoiser(x_r, r, None, jumps.s)
    return total


class Ignoring(nn.Module):
    """A network with dropout that takes s and ignores it."""

    takes_s = True

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Dropout(0.3), nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        return self.layers(x + (time / 1000).sin().reshape(-1, 1, 1, 1).to(x.dtype))


def losses_of(rule: str, denoiser: Denoiser, rows: slice = slice(None)) -> Tensor:
    """Return the losses of some of 5 images, with the same random numbers in every call."""
    x0 = torch.randn(5, 1, 8, 8, generator=keyed_generator("cpu", "x0")).to(next(denoiser.parameters()).dtype)
    objective = FlowMapObjective(RULES[rule])
    draw = objective.draw(x0.shape, denoiser.schedule, keyed_generator("cpu", "draw"), x0.dtype)
    torch.manual_seed(1)
    return objective.losses(denoiser, denoiser, x0[rows], draw.rows(rows), progress=1.0)


def gradients(losses: Tensor, denoiser: Denoiser) -> Tensor:
    """Return the gradient of the mean loss by all weights, as one vector."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(losses.mean(), list(denoiser.parameters()))])
