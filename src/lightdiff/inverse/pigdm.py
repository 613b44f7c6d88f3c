"""PiGDM, pseudoinverse-guided diffusion, and its form with the covariance of the network."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lightdiff.core.guidance import DenoiserFunction
from lightdiff.inverse.measurement import GradientMeasurement, check_number, flat
from lightdiff.inverse.operator import LinearOperator, conjugate_gradients


class PiGDM(GradientMeasurement):
    """Pseudoinverse-guided diffusion (Song et al. 2023, ICLR, "Pseudoinverse-guided diffusion models for inverse problems").

        p(y | x_t) = N(A x0_hat, V),    V = r^2 A A^T + noise_std^2 I

    (its eq. 7 and 8). Without noise, A^T V^-1 is the pseudoinverse of A, divided by r^2. The covariance of x0 given x_t is taken
    to be r^2 I, with the r of `GradientMeasurement`; the paper has data_std = 1. For white Gaussian images with that data_std the
    method is exact: samples follow the posterior as the steps of the sampler grow.

    The paper multiplies the correction of each step by a further weight, with which its steps exceed those of its eq. 8. Here
    `strength` does that: it stands for p(y | x_t)^strength.

    Args:
        denoiser, operator, measured, noise_std, data_std, smallest_ratio: as in `GradientMeasurement`.
        strength: power of p(y | x_t), above 0. At 1 samples follow the posterior; above 1 they vary less and lie closer to its
            mean, which gives a higher PSNR.

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
        strength: float = 1.0,
        data_std: float = 0.5,
        smallest_ratio: float = 0.05,
    ) -> None:
        super().__init__(denoiser, operator, measured, noise_std, data_std=data_std, smallest_ratio=smallest_ratio)
        check_number("strength", strength)
        self.strength = strength

    def _weighted(self, residual: Tensor, variance: Tensor, covariance: Callable[[Tensor], Tensor]) -> Tensor:
        ridge = self.noise_std**2 / variance.flatten()
        return self.strength * self.operator.solve(residual, ridge) / flat(variance, residual)


class MomentMatching(GradientMeasurement):
    """PiGDM with the covariance of x0 given x_t that the network itself has (Rozet et al. 2024, arXiv:2405.13712, section 4.2).

        p(y | x_t) = N(A x0_hat, V),    V = A C A^T + noise_std^2 I,    C = (sigma^2 / alpha) J^T

    V^-1 is applied by conjugate gradients, each iteration of which is a backward pass. For Gaussian images with any covariance,
    and enough iterations, the method is exact: samples follow the posterior as the steps of the sampler grow.

    Args:
        denoiser, operator, measured, noise_std, data_std, smallest_ratio: as in `GradientMeasurement`.
        iterations: iterations of the solver, 1 or more. A few leave out directions in which V is small, where a network's C is
            least reliable.

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
        iterations: int = 3,
        data_std: float = 0.5,
        smallest_ratio: float = 0.05,
    ) -> None:
        super().__init__(denoiser, operator, measured, noise_std, data_std=data_std, smallest_ratio=smallest_ratio)
        if iterations < 1:
            raise ValueError(f"iterations={iterations}: a whole number, 1 or more, is expected")
        self.iterations = iterations

    def _weighted(self, residual: Tensor, variance: Tensor, covariance: Callable[[Tensor], Tensor]) -> Tensor:
        def matrix(v: Tensor) -> Tensor:
            return self.operator(covariance(self.operator.adjoint(v))) + self.noise_std**2 * v

        return conjugate_gradients(matrix, residual, iterations=self.iterations)
