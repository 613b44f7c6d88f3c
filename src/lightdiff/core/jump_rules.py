"""The rules by which a flow map is trained: what the x0_hat of a jump from t to s should be.

Every rule is an equation between x0_hat(x_t, t -> s) and something that is known without it or is known better. All times in the
equations are flow times (see `jumps`), and D is the direction, the image towards which a small step from x_t goes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition, Denoiser
from lightdiff.core.few_step import repeatable
from lightdiff.core.forward_mode import rates, value_and_derivative
from lightdiff.core.jumps import first_share, joined, jump
from lightdiff.core.scales import Scales
from lightdiff.core.shapes import per_image
from lightdiff.core.stages import checked_ratios, ratio_at


@dataclass(frozen=True)
class Jumps:
    """The jumps of B images, at which a denoiser is trained.

    Args:
        denoiser: denoiser whose network takes s.
        x_t: noisy images (B, ...).
        t, s: times (B,) where the jumps begin and end, s <= t.
        direction: images (B, ...) towards which small steps from x_t go.
        cond: condition of the images, or None.
    """

    denoiser: Denoiser
    x_t: Tensor
    t: Tensor
    s: Tensor
    direction: Tensor
    cond: Condition | None = None

    def x0_hat(self) -> Tensor:
        """Return the x0_hat (B, ...) of the jumps."""
        return self.denoiser(self.x_t, self.t, self.cond, self.s)

    @torch.no_grad()
    def other(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Return the x0_hat (B, ...) of other jumps of the images, without gradient and with the dropout of `x0_hat`."""
        with repeatable(x.device):
            return self.denoiser(x, t, self.cond, s)

    def scales(self) -> tuple[Scales, Scales]:
        """Return the exact scales (B,) at t and at s."""
        return self.denoiser.schedule.exact(self.t), self.denoiser.schedule.exact(self.s)


class JumpRule(ABC):
    """Base class of the rules."""

    needs_share_at_t: ClassVar[bool] = False
    """Whether only the jumps of no length say what the images are like, so that there must be some."""

    @property
    def needs_end(self) -> bool:
        """Whether the target changes with the progress of training; see `Objective.needs_end`."""
        return False

    def check_training(self, denoiser: Denoiser) -> None:
        """Check that a denoiser can be trained by this rule.

        Raises:
            ValueError: it cannot; one line that begins with a key of the configuration.
        """

    @abstractmethod
    def __call__(self, jumps: Jumps, progress: float) -> tuple[Tensor, Tensor]:
        """Return the x0_hat (B, ...) of the jumps and its target (B, ...), which is the direction wherever s = t.

        Args:
            jumps: the jumps.
            progress: how much of the training is done, 0 to 1.
        """


@dataclass(frozen=True)
class DiscreteRule(JumpRule):
    """A small step from t to r with the direction, then the jump from r to s, make up the jump from t to s.

        target = share D + (1 - share) x0_hat(x_r, r -> s),    r = s + ratio (t - s),    share = s (t - r) / (r (t - s))

    The ratio grows in stages as training goes on. With s = 0 it is the rule of consistency models (Song et al. 2023,
    arXiv:2303.01469, eq. 10). With any s it is the rule of consistency trajectory models with one step of the solver (Kim et al.
    2023, arXiv:2310.02279, section 3).

    Args:
        ratios: ratio in each of the equally long stages of training: numbers in [0, 1) that rise. At 0 the target is D.

    Raises:
        ValueError: ratios is empty, falls, or has a number outside [0, 1).
    """

    ratios: Sequence[float] = (0.5, 0.75, 0.875)

    def __post_init__(self) -> None:
        checked_ratios(self.ratios)

    @property
    def needs_end(self) -> bool:
        return len(set(self.ratios)) > 1

    def __call__(self, jumps: Jumps, progress: float) -> tuple[Tensor, Tensor]:
        target = self._target(jumps, ratio_at(self.ratios, progress))
        return jumps.x0_hat(), target

    def _target(self, jumps: Jumps, ratio: float) -> Tensor:
        if ratio == 0:
            return jumps.direction
        at_t, at_s = jumps.scales()
        tau_t, tau_s = at_t.flow_time, at_s.flow_time
        tau_r = tau_s + ratio * (tau_t - tau_s)
        r = jumps.denoiser.schedule.t_from_flow_time(tau_r).to(jumps.t.dtype)
        x_r = jump(jumps.x_t, jumps.direction, at_t, jumps.denoiser.schedule.exact(r))
        return joined(jumps.direction, jumps.other(x_r, r, jumps.s), first_share(tau_t, tau_r, tau_s))


@dataclass(frozen=True)
class ShortcutRule(JumpRule):
    """Two jumps of half the length make up the whole one (shortcut models, Frans et al. 2024, arXiv:2410.12557).

        target = share X1 + (1 - share) X2,    X1 = x0_hat(x_t, t -> u),    X2 = x0_hat(x_u, u -> s),    u = (t + s) / 2

    x_u is where the first jump lands, and share = s / (t + s). Jumps of no length, s = t, have the target D: from them the others
    learn. Unlike the paper's, the lengths are any numbers, not powers of 1/2.
    """

    needs_share_at_t: ClassVar[bool] = True

    def __call__(self, jumps: Jumps, progress: float) -> tuple[Tensor, Tensor]:
        at_t, at_s = jumps.scales()
        tau_t, tau_s = at_t.flow_time, at_s.flow_time
        tau_u = (tau_t + tau_s) / 2
        u = jumps.denoiser.schedule.t_from_flow_time(tau_u).to(jumps.t.dtype)
        first = jumps.other(jumps.x_t, jumps.t, u)
        x_u = jump(jumps.x_t, first, at_t, jumps.denoiser.schedule.exact(u))
        target = joined(first, jumps.other(x_u, u, jumps.s), first_share(tau_t, tau_u, tau_s))
        return jumps.x0_hat(), torch.where(per_image(jumps.s == jumps.t, target) == 1, jumps.direction, target)


@dataclass(frozen=True)
class MeanFlowRule(JumpRule):
    """The limit of `DiscreteRule` for r -> t, by a derivative through the network (MeanFlow, Geng et al. 2025, arXiv:2505.13447).

        target = (s / t) D + (1 - s / t) X - (t - s) dX/dt,    X = x0_hat(x_t, t -> s)

    dX/dt is the total derivative along the straight line from D through x_t, computed by forward-mode differentiation together
    with X. On `FlowSchedule` with D = x0 it is the paper's eq. 6 for the mean velocity (x_t - X) / t. The network needs a time
    that is not rounded, and is computed without autocast and without torch.compile.
    """

    def check_training(self, denoiser: Denoiser) -> None:
        if denoiser.time_input == "timestep":
            raise ValueError(
                "time_input=timestep: objective.rule=mean_flow differentiates with respect to the time, which a timestep "
                "rounds; choices: t, log_sigma"
            )

    def __call__(self, jumps: Jumps, progress: float) -> tuple[Tensor, Tensor]:
        (at_t, at_s), D = jumps.scales(), jumps.direction
        scales = at_t.per_image(D)
        noise = (jumps.x_t - scales.alpha * D) / scales.sigma
        dt, dscales = rates(jumps.denoiser.schedule, jumps.t)
        dtype = jumps.x_t.dtype
        cond = jumps.cond and {k: v.to(dtype) if v.is_floating_point() else v for k, v in jumps.cond.items()}

        def x0_hat(x_t: Tensor, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
            return jumps.denoiser(x_t, t, cond, jumps.s, scales=Scales(alpha, sigma))

        X, derivative = value_and_derivative(
            x0_hat,
            (jumps.x_t, jumps.t, at_t.alpha, at_t.sigma),
            (dscales.mix(D, noise), dt.to(jumps.t.dtype), dscales.alpha, dscales.sigma),
        )
        tau_t, tau_s = at_t.flow_time, at_s.flow_time
        target = joined(D, X.detach(), tau_s / tau_t) - per_image(tau_t - tau_s, X) * derivative.detach()
        return X, target
