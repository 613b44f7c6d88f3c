"""Muon, an optimizer whose steps for matrices are orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

SMALLEST = 16
"""Shorter side from which on a matrix is one for Muon. Thinner ones, such as those that read a pixel's channels, have AdamW."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b and c of the polynomial a s + b s^3 + c s^5, which brings singular values in (0, 1] near to 1 when it is repeated."""
ITERATIONS = 5
"""How often the polynomial is applied."""
RMS = 0.2
"""Root mean square of a step's entries at learning rate 1, about as large as AdamW's (Liu et al. 2025, arXiv:2502.16982)."""


class Muon(Optimizer):
    """Train matrices and convolutions with Muon, and all other parameters with AdamW at the same learning rate.

        m <- momentum m + (1 - momentum) g
        W <- (1 - lr weight_decay) W - lr RMS sqrt(max(n, k)) orthogonal(momentum m + (1 - momentum) g)

    for the gradient g of a matrix W (n, k). The weights of a convolution (n, c, h, w) are the matrix (n, c h w).

    Args:
        params: the parameters.
        lr: learning rate, at least 0.
        momentum: decay of the running average of a matrix's gradient, in [0, 1).
        betas: for all other parameters, decay of the running averages of the gradient and of its square, in [0, 1).
        weight_decay: share of each weight that is subtracted in a step, multiplied by the learning rate, at least 0.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 2e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
    ) -> None:
        for name, value in {"lr": lr, "weight_decay": weight_decay}.items():
            if not value >= 0:
                raise ValueError(f"{name}={value}: a number of at least 0 is expected")
        for name, decays in {"momentum": (momentum,), "betas": betas}.items():
            if not all(0 <= decay < 1 for decay in decays):
                raise ValueError(f"{name}={decays if name == 'betas' else momentum}: numbers in [0, 1) are expected")
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step; `closure`, if given, computes the gradients and returns the loss, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            learning: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
            self._step_matrices(group, [parameter for parameter in learning if is_matrix(parameter)])
            self._step_others(group, [parameter for parameter in learning if not is_matrix(parameter)])
        return loss

    def _step_matrices(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for parameter in parameters:
            alike.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
        # matrices of one shape are made orthogonal together, which takes a tenth of the calls
        for shape, same in alike.items():
            grads = [parameter.grad for parameter in same if parameter.grad is not None]
            averages = [_kept(self.state[parameter], "momentum_buffer", parameter) for parameter in same]
            torch._foreach_lerp_(averages, grads, 1 - group["momentum"])
            ahead = torch._foreach_lerp(grads, averages, group["momentum"])
            steps = orthogonal(torch.stack([each.reshape(shape) for each in ahead]))
            torch._foreach_mul_(same, 1 - group["lr"] * group["weight_decay"])
            size = group["lr"] * RMS * max(shape) ** 0.5
            for parameter, each in zip(same, steps, strict=True):
                parameter.add_(each.reshape(parameter.shape).to(parameter.dtype), alpha=-size)

    def _step_others(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        states = [self.state[parameter] for parameter in parameters]
        pairs = list(zip(states, parameters, strict=True))
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [_kept(state, "exp_avg", parameter) for state, parameter in pairs],
            [_kept(state, "exp_avg_sq", parameter) for state, parameter in pairs],
            [],
            [state.setdefault("step", torch.zeros(())) for state in states],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def is_matrix(parameter: Tensor) -> bool:
    """Return whether Muon trains this parameter: a matrix or a convolution that is large enough."""
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) >= SMALLEST


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring all singular values of matrices (..., n, k) near to 1, by Newton and Schulz's iteration in float32."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.float()
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def _kept(state: dict[str, Any], name: str, parameter: Tensor) -> Tensor:
    """Return the running average of this name, which begins at 0."""
    if name not in state:
        state[name] = torch.zeros_like(parameter)
    average: Tensor = state[name]
    return average
