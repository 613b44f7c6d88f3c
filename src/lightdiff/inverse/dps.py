"""DPS: diffusion posterior sampling."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lightdiff.core import per_image
from lightdiff.core.guidance import DenoiserFunction
from lightdiff.inverse.measurement import GradientMeasurement, check_number, flat
from lightdiff.inverse.operator import LinearOperator


class DPS(GradientMeasurement):
    """Diffusion posterior sampling (Chung et al. 2023, arXiv:2209.14687), written for x0_hat on any schedule.

    The method follows the gradient of the norm of the residual, e = y - A x0_hat (its algorithm 1). Here that is

        x0_hat(x_t | y) = x0_hat + step_size C A^T e / (s rms(e)),    s^2 = gain r^2 + noise_std^2

    rms(e) is the root mean square of the residual over the measured values, s the value that is expected of it, and `gain` the
    mean of the diagonal of A A^T. In other words, p(y | x_t) has the covariance s rms(e) / step_size times I. As in the paper,
    the step is along the gradient of |e| and its length is bounded. The factors make the step size independent of the schedule,
    the number of steps, the size of the images and the scale of A. In the paper a step size of 1 (often 0.3 to 1) belongs to 1000
    steps of DDPM with linear betas.

    Since V is a multiple of I and does not know how sure x0_hat is in each direction, samples do not follow the posterior:
    `docs/inverse.md` has the bias in a case where the posterior is known.

    Args:
        denoiser, operator, measured, noise_std, data_std, smallest_ratio: as in `GradientMeasurement`.
        step_size: strength, above 0. 1 removes the residual where x0_hat is as unsure as s says.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        denoiser: DenoiserFunction,
        operator: LinearOperator,
        measured: Tensor,
        noise_std: float = 0.0,
        *,
        step_size: float = 1.0,
        data_std: float = 0.5,
        smallest_ratio: float = 0.05,
    ) -> None:
        super().__init__(denoiser, operator, measured, noise_std, data_std=data_std, smallest_ratio=smallest_ratio)
        check_number("step_size", step_size)
        self.step_size = step_size

    def _weighted(self, residual: Tensor, variance: Tensor, covariance: Callable[[Tensor], Tensor]) -> Tensor:
        expected = (self.operator.gain * variance + self.noise_std**2).sqrt()
        # over the measured values alone: an operator may leave out some
        found = (residual.square().flatten(1).sum(1) / self.operator.count).sqrt().clamp(min=1e-12)
        return self.step_size * residual / flat(expected, residual) / per_image(found, residual)
