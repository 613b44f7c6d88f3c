"""DiffPIR: a proximal step towards the measurement, without gradients."""

from __future__ import annotations

from torch import Tensor

from lightdiff.core import Condition
from lightdiff.core.guidance import DenoiserFunction
from lightdiff.inverse.measurement import Measurement, check_number
from lightdiff.inverse.operator import LinearOperator


class DiffPIR(Measurement):
    """Plug-and-play image restoration (Zhu et al. 2023, arXiv:2305.08995, eq. 12 and 13), written for x0_hat.

        x0_hat(x_t | y) = argmin_x |y - A x|^2 + rho |x - x0_hat|^2,    rho = prior_weight noise_std^2 alpha^2 / sigma^2
                        = x0_hat + A^T (A A^T + rho I)^-1 (y - A x0_hat)

    That is `PiGDM` with r^2 = sigma^2 / (alpha^2 prior_weight), and with r^2 I in place of C. It needs one call of the
    network and no backward pass. Without noise (noise_std = 0) the result fits the measurement exactly, at every step.

    The paper renoises with a mixture of the noise in x_t and new noise. Here that is the sampler's choice: none of it is new with
    sampler=ddim (the paper's zeta = 0), all of it with sampler=renoise (zeta = 1).

    Args:
        denoiser, operator, measured, noise_std: as in `Measurement`. Gradients are not needed.
        prior_weight: lambda of the paper, above 0: how much the denoiser counts against a noisy measurement.

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
        prior_weight: float = 1.0,
    ) -> None:
        super().__init__(denoiser, operator, measured, noise_std)
        check_number("prior_weight", prior_weight)
        self.prior_weight = prior_weight

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        scales = self.schedule.exact(t)
        x0_hat = self.denoiser(x_t, t, cond)
        ridge = self.prior_weight * self.noise_std**2 * (scales.alpha / scales.sigma) ** 2
        residual = self.measured - self.operator(x0_hat)
        return x0_hat + self.operator.adjoint(self.operator.solve(residual, ridge))
