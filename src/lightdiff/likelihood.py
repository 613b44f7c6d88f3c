"""The log density of images under a diffusion model, by the ordinary differential equation of its probability flow.

Images x0 of B rows and D = C H W numbers each flow to noise along (Song et al. 2021, arXiv:2011.13456, eq. 13, written for
x0_hat and the angle theta = atan(sigma / alpha), which turns every schedule into y = cos(theta) x0 + sin(theta) noise):

    y = x_t / sqrt(alpha^2 + sigma^2),    dy / dtheta = v = (cos(theta) y - x0_hat) / sin(theta),    v = 0 at theta = 0

The density follows the divergence of the velocity (eq. 39 there):

    log p(x0) = log p_1(y_1) + integral of div v over theta,    div v = (D cos(theta) - tr d x0_hat / d y) / sin(theta)

p_1, the density at t = 1, is the Gaussian whose score and whose derivative of the score at y_1 are the denoiser's:

    log p_1(y) = -D/2 log(2 pi sin^2) - cos tr J / 2 - (|e|^2 + cos e J e) / 2,    e = noise_hat(y),    J = d x0_hat / d y

It is N(0, 1) where alpha(1) = 0. Elsewhere what is left out is of the order (alpha(1) / sigma(1))^4.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightdiff.core import BlockGenerator, Condition, GaussianNoise, NoiseSchedule
from lightdiff.samplers.base import DenoiserLike

Trace = Literal["exact", "hutchinson"]


def log_likelihood(
    denoiser: DenoiserLike,
    x0: Tensor,
    *,
    num_steps: int,
    trace: Trace = "exact",
    cond: Condition | None = None,
    generator: torch.Generator | BlockGenerator | None = None,
) -> Tensor:
    """Return the natural log of the density of images under the model, (B,) float64, in nats for the whole image.

    Everything is computed in float64 with Heun's method, whose error falls with the square of the step, on the times with
    theta_i = theta(1) (i / num_steps)^2. Each step calls the denoiser twice. Bits for each number are
    -log_likelihood / (D log 2) for values in the range of x0. For gray levels 0..255 that became [-1, 1], add log2(127.5) to
    them, and add uniform noise of one gray level to the images before, because whole numbers have no density.

    Args:
        denoiser: x0_hat(x_t, t, cond) with the attribute `schedule`, whose log-SNR has an inverse. A module is copied in
            float64 and eval mode; any other callable has to take float64.
        x0: images (B, C, H, W), in the range that the denoiser's x0 has, [-1, 1] for pixels.
        num_steps: number of steps, 1 or more.
        trace: "exact" calls for D gradients a step. "hutchinson" estimates the trace from one random direction of signs for each
            image (Hutchinson 1990, as in FFJORD, arXiv:1810.01367, eq. 8): one gradient a step, and the right mean.
        cond: condition of the B images, or None.
        generator: source of the random directions. None takes torch's global generator.

    Raises:
        ValueError: an argument is out of range, or the schedule has no inverse.
    """
    if num_steps != int(num_steps) or num_steps < 1:
        raise ValueError(f"num_steps={num_steps}: a whole number of 1 or more is expected")
    if trace not in get_args(Trace):
        raise ValueError(f"trace={trace}: choices: {', '.join(get_args(Trace))}")
    if x0.ndim != 4 or not x0.is_floating_point():
        raise ValueError(f"x0={x0.dtype} {list(x0.shape)}: floating-point images (B, C, H, W) are expected")
    if not denoiser.schedule.has_inverse:
        raise ValueError(f"denoiser: {type(denoiser.schedule).__name__} has no inverse (t_from_log_snr)")
    # what was made in inference mode takes part in no gradient; copies made outside do
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(x0.device.type, enabled=False):
        if isinstance(denoiser, nn.Module):
            denoiser = copy.deepcopy(denoiser).double().eval().requires_grad_(False)
        y = x0.detach().clone().double()
        cond = None if cond is None else {name: _exact(value) for name, value in cond.items()}
        signs = GaussianNoise().like(y, generator).sign() if trace == "hutchinson" else None
        points = _grid(denoiser.schedule, num_steps)
        flow = _Flow(denoiser, cond, _exact_trace if signs is None else lambda x0_hat, y: _along(x0_hat, y, signs))
        here, integral = flow.at(y, points[0]), torch.zeros(len(y), dtype=torch.float64, device=y.device)
        for start, end in pairwise(points):
            step = end.theta - start.theta
            guess = flow.velocity(y + step * here.velocity, end)
            y = y + step * (here.velocity + guess) / 2
            there = flow.at(y, end)
            integral = integral + step * (here.divergence + there.divergence) / 2
            here = there
        return integral + flow.log_density_of_noise(y, points[-1])


@dataclass(frozen=True)
class _Point:
    """A time t of the grid, with its angle theta and the length sqrt(alpha^2 + sigma^2) of its scales."""

    t: float
    theta: float
    length: float


def _grid(schedule: NoiseSchedule, num_steps: int) -> list[_Point]:
    """Return num_steps + 1 points from t = 0 to t = 1, with angles that grow like the square of their number."""
    last = schedule.exact(torch.ones(1, dtype=torch.float64))
    theta = torch.atan2(last.sigma, last.alpha) * torch.linspace(0, 1, num_steps + 1, dtype=torch.float64) ** 2
    t = schedule.t_from_flow_time(theta.sin() / (theta.sin() + theta.cos()))
    t[0], t[-1] = 0, 1
    # the angles of these very times, of which some schedules have only some
    at = schedule.exact(t)
    angles, lengths = torch.atan2(at.sigma, at.alpha), torch.hypot(at.alpha, at.sigma)
    return [_Point(*numbers) for numbers in zip(t.tolist(), angles.tolist(), lengths.tolist(), strict=True)]


@dataclass(frozen=True)
class _State:
    """The velocity (B, C, H, W) and its divergence (B,)."""

    velocity: Tensor
    divergence: Tensor


class _Flow:
    """The probability flow of a denoiser.

    Args:
        denoiser, cond: as for `log_likelihood`.
        trace: function (x0_hat, y), both (B, C, H, W) with a graph between them -> tr d x0_hat / d y (B,).
    """

    def __init__(self, denoiser: Any, cond: Condition | None, trace: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.denoiser, self.cond, self.trace = denoiser, cond, trace

    def x0_hat(self, y: Tensor, point: _Point) -> Tensor:
        t = torch.full((len(y),), point.t, dtype=torch.float64, device=y.device)
        return self.denoiser(point.length * y, t, self.cond)

    def velocity(self, y: Tensor, point: _Point) -> Tensor:
        return (math.cos(point.theta) * y - self.x0_hat(y, point)) / math.sin(point.theta)

    def at(self, y: Tensor, point: _Point) -> _State:
        if point.theta == 0:
            return _State(torch.zeros_like(y), y.new_zeros(len(y)))
        cos, sin = math.cos(point.theta), math.sin(point.theta)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            x0_hat = self.x0_hat(y, point)
            trace = self.trace(x0_hat, y)
        velocity = (cos * y - x0_hat) / sin
        return _State(velocity.detach(), (y[0].numel() * cos - trace.detach()) / sin)

    def log_density_of_noise(self, y: Tensor, point: _Point) -> Tensor:
        cos, sin = math.cos(point.theta), math.sin(point.theta)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            x0_hat = self.x0_hat(y, point)
            noise_hat = ((y - cos * x0_hat) / sin).detach()
            curvature = _along(x0_hat, y, noise_hat)
            trace = self.trace(x0_hat, y)
        size = noise_hat.flatten(1).square().sum(1)
        constant = y[0].numel() * math.log(2 * math.pi * sin**2)
        return -(constant + cos * trace + size + cos * curvature).detach() / 2


def _exact_trace(x0_hat: Tensor, y: Tensor) -> Tensor:
    """Return tr d x0_hat / d y (B,), from a gradient for each of the D numbers of an image."""
    total = y.new_zeros(len(y))
    for i in range(y[0].numel()):
        direction = torch.zeros_like(x0_hat).flatten(1)
        direction[:, i] = 1
        (gradient,) = torch.autograd.grad(x0_hat, y, direction.view_as(x0_hat), retain_graph=True)
        total = total + gradient.flatten(1)[:, i]
    return total


def _along(x0_hat: Tensor, y: Tensor, direction: Tensor) -> Tensor:
    """Return direction . (d x0_hat / d y) direction (B,) for directions (B, C, H, W)."""
    (gradient,) = torch.autograd.grad(x0_hat, y, direction, retain_graph=True)
    return (gradient * direction).flatten(1).sum(1)


def _exact(value: Tensor) -> Tensor:
    """Return a copy, in float64 where it is floating."""
    return value.clone().double() if value.is_floating_point() else value.clone()
