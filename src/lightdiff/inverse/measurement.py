"""The base classes of the denoisers that know a measurement of the image.

A measurement is y = A x0 + noise_std z with z ~ N(0, 1) and a known linear operator A. By Bayes' rule the score of x_t given y
is the score of x_t plus the gradient of log p(y | x_t), and since x0_hat = (x_t + sigma^2 score) / alpha,

    x0_hat(x_t | y) = x0_hat(x_t) + (sigma^2 / alpha) grad_{x_t} log p(y | x_t)

The methods differ in how they approximate p(y | x_t). Each is a `Measurement`, which is called exactly like a `Denoiser` and
returns x0_hat(x_t | y), so that every sampler works with it on every schedule.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lightdiff.core import Condition, NoiseSchedule, Scales, per_image
from lightdiff.core.guidance import DenoiserFunction
from lightdiff.inverse.operator import LinearOperator


class Measurement(ABC):
    """Base class of the denoisers that know a measurement y = A x0 + noise_std z.

    Such a denoiser always uses the ordinary x0_hat of the denoiser inside, since it is the mean of x0 given x_t that a
    measurement says something about. It therefore has takes_s = False, also for a flow map.

    Args:
        denoiser: denoiser, guided or not, called as denoiser(x_t, t, cond).
        operator: A.
        measured: measurements y (B, ...) of the B images, or (1, ...) of all of them, in the units of x0.
        noise_std: standard deviation of the measurement's noise in the units of x0, 0 or more.

    Raises:
        ValueError: noise_std is negative or not finite.
    """

    takes_s = False

    def __init__(
        self, denoiser: DenoiserFunction, operator: LinearOperator, measured: Tensor, noise_std: float = 0.0
    ) -> None:
        check_number("noise_std", noise_std, zero=True)
        self.denoiser = denoiser
        self.operator = operator
        self.measured = measured
        self.noise_std = noise_std
        self.schedule: NoiseSchedule = denoiser.schedule  # type: ignore[attr-defined]
        self.value_range: tuple[float, float] | None = getattr(denoiser, "value_range", (-1.0, 1.0))

    @abstractmethod
    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        """Return x0_hat(x_t | y) (B, C, H, W) from x_t (B, C, H, W), t (B,) and the condition."""


class GradientMeasurement(Measurement):
    """Base class of the methods that take the gradient of log p(y | x_t) through the denoiser.

    They approximate p(y | x_t) by a Gaussian with the mean A x0_hat and some covariance V, which is held fixed. Then

        x0_hat(x_t | y) = x0_hat + C A^T V^-1 (y - A x0_hat),    C = (sigma^2 / alpha) J^T,    J = d x0_hat / d x_t

    For the best denoiser C is the covariance of x0 given x_t, and symmetric. The product C v is one backward pass. Where alpha is
    so small that C says more about the network's errors than about the images, it is replaced by r^2 I with

        r^2 = data_std^2 sigma^2 / (alpha^2 data_std^2 + sigma^2),

    the variance of x0 given x_t for white Gaussian images. At alpha = 0, where J is 0, that is always done.

    Gradients are switched on inside, also where the sampler runs in `torch.inference_mode()`.

    Args:
        denoiser, operator, measured, noise_std: as in `Measurement`. The weights of the denoiser may not have been made in
            `torch.inference_mode()`.
        data_std: standard deviation of the images' pixels, above 0.
        smallest_ratio: alpha / sigma below which r^2 I stands for C, 0 or more.

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
        data_std: float = 0.5,
        smallest_ratio: float = 0.05,
    ) -> None:
        super().__init__(denoiser, operator, measured, noise_std)
        check_number("data_std", data_std)
        check_number("smallest_ratio", smallest_ratio, zero=True)
        self.data_std = data_std
        self.smallest_ratio = smallest_ratio
        self._cond: tuple[Condition | None, Condition | None] = (None, None)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        scales = self.schedule.exact(t).per_image(x_t)
        with torch.inference_mode(False), torch.enable_grad():
            # tensors of inference mode cannot take part in a backward pass, copies of them can
            x = x_t.detach().clone().requires_grad_()
            with _naming_inference_tensors():
                x0_hat = self.denoiser(x, t.clone(), self._copied(cond))
        variance = self._variance(scales)
        trusted = scales.alpha > self.smallest_ratio * scales.sigma
        factor = torch.where(trusted, scales.sigma**2 / scales.alpha, 0)

        def covariance(v: Tensor) -> Tensor:
            """Return C v (B, C, H, W)."""
            if not trusted.any():
                return variance * v
            with torch.inference_mode(False):
                (back,) = torch.autograd.grad(x0_hat, x, v.clone(), retain_graph=True)
            return torch.where(trusted, factor * back, variance * v)

        residual = self.measured - self.operator(x0_hat.detach())
        weighted = self._weighted(residual, variance, covariance)
        return x0_hat.detach() + covariance(self.operator.adjoint(weighted))

    @abstractmethod
    def _weighted(self, residual: Tensor, variance: Tensor, covariance: Callable[[Tensor], Tensor]) -> Tensor:
        """Return V^-1 residual (B, ...).

        Args:
            residual: y - A x0_hat (B, ...).
            variance: r^2 (B, 1, 1, 1).
            covariance: the product with C, a function of images (B, C, H, W).
        """

    def _variance(self, scales: Scales) -> Tensor:
        """Return r^2 (B, 1, 1, 1), which is never quite 0."""
        data = self.data_std**2
        variance = data * scales.sigma**2 / (scales.alpha**2 * data + scales.sigma**2)
        return variance.clamp(min=torch.finfo(variance.dtype).tiny ** 0.5)

    def _copied(self, cond: Condition | None) -> Condition | None:
        """Return the condition in tensors that can take part in a backward pass. It is the same at every step of a trajectory."""
        if cond is not None and self._cond[0] is not cond:
            self._cond = cond, {name: value.detach().clone() for name, value in cond.items()}
        return None if cond is None else self._cond[1]


@contextmanager
def _naming_inference_tensors() -> Iterator[None]:
    """Turn torch's error about tensors without gradients into one that says which they are."""
    try:
        yield
    except RuntimeError as error:
        if "Inference tensors" not in str(error):
            raise
        raise RuntimeError(
            "weights or a null condition made in torch.inference_mode() have no gradients, which this measurement needs; make "
            "them outside of it"
        ) from error


def flat(values: Tensor, like: Tensor) -> Tensor:
    """Return numbers for each image (B, 1, 1, 1) in the shape that multiplies measurements (B, ...)."""
    return per_image(values.flatten(), like)


def check_number(name: str, value: float, *, zero: bool = False) -> None:
    """Refuse a setting that is not a positive finite number.

    Args:
        name: name of the argument.
        value: its value.
        zero: whether 0 is fine too.

    Raises:
        ValueError: one line with the argument, its value and what is expected.
    """
    if not (0 <= value < math.inf and (zero or value > 0)):
        raise ValueError(f"{name}={value}: a number {'of 0 or more' if zero else 'above 0'} is expected")
