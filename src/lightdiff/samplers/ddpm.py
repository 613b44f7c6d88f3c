"""The ancestral sampler of DDPM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from lightdiff.core import GaussianNoise, Scales, per_image
from lightdiff.samplers.base import Generator, OneStepSampler

Variance = Literal["small", "large"]


@dataclass(frozen=True)
class DDPM(OneStepSampler):
    """The ancestral sampler of DDPM, which draws x_s from q(x_s | x_t, x0 = x0_hat).

        mean = (a sigma_s^2 / sigma_t^2) x_t + (alpha_s b^2 / sigma_t^2) x0_hat
        variance = b^2 sigma_s^2 / sigma_t^2 (small) or b^2 (large), and 0 if sigma_s = 0
        a = alpha_t / alpha_s,    b^2 = sigma_t^2 - a^2 sigma_s^2

    (Ho et al. 2020, arXiv:2006.11239, eq. 6 and 7, here for any pair of times). b^2 is the variance of x_t given x_s; between two
    neighbouring timesteps it is beta.

    Args:
        variance: "small" is exact if all images of the data are equal, "large" if they are white noise.

    Raises:
        ValueError: variance is neither small nor large.
    """

    variance: Variance = "small"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variance not in get_args(Variance):
            raise ValueError(f"variance={self.variance}: choices: {', '.join(get_args(Variance))}")

    @property
    def added_noise(self) -> str | None:
        return "sampler=ddpm"

    def step_at(
        self, x_t: Tensor, x0_hat: Tensor, at_t: Scales, at_s: Scales, generator: Generator | None = None
    ) -> Tensor:
        a = at_t.alpha / at_s.alpha
        b_squared = (at_t.sigma**2 - (a * at_s.sigma) ** 2).clamp(min=0)
        mean = (
            per_image(a * (at_s.sigma / at_t.sigma) ** 2, x_t) * x_t
            + per_image(at_s.alpha * b_squared / at_t.sigma**2, x_t) * x0_hat
        )
        kept = (at_s.sigma / at_t.sigma) ** 2 if self.variance == "small" else at_s.sigma > 0
        variance = b_squared * kept
        return mean + per_image(variance.sqrt(), x_t) * GaussianNoise().like(x_t, generator)
