"""The sampler DDIM, which at eta = 0 is Euler's method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lightdiff.core import GaussianNoise, Scales, jump, per_image
from lightdiff.samplers.base import Generator, OneStepSampler


@dataclass(frozen=True)
class DDIM(OneStepSampler):
    """The sampler DDIM (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16).

        x_s = alpha_s x0_hat + sqrt(sigma_s^2 - c^2) noise_hat + c z,    noise_hat = (x_t - alpha_t x0_hat) / sigma_t
        c = eta (sigma_s / sigma_t) sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2),    z ~ N(0, 1)

    At eta = 0 it is deterministic: Euler's method with sigma/alpha as the variable, which is also valid for s > t. At eta = 1 it
    is `DDPM` with the small variance.

    At eta = 0 a denoiser with takes_s = True is asked for the x0_hat of each jump from t to s, with which the step is exact.

    Args:
        eta: standard deviation of the added noise relative to ancestral sampling, in [0, 1].

    Raises:
        ValueError: eta is not in [0, 1].
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta={self.eta}: a number in [0, 1] is expected")

    @property
    def added_noise(self) -> str | None:
        return f"eta={self.eta}" if self.eta > 0 else None

    @property
    def uses_jumps(self) -> bool:
        return self.eta == 0

    def step_at(
        self, x_t: Tensor, x0_hat: Tensor, at_t: Scales, at_s: Scales, generator: Generator | None = None
    ) -> Tensor:
        if self.eta == 0:
            return jump(x_t, x0_hat, at_t, at_s)
        b_squared = (at_t.sigma**2 - (at_t.alpha / at_s.alpha * at_s.sigma) ** 2).clamp(min=0)
        c = self.eta * (at_s.sigma / at_t.sigma) * b_squared.sqrt()
        rest = (at_s.sigma**2 - c**2).clamp(min=0).sqrt()
        noise = GaussianNoise().like(x_t, generator)
        return jump(x_t, x0_hat, at_t, Scales(at_s.alpha, rest)) + per_image(c, x_t) * noise
