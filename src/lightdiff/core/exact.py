"""The best possible denoiser where the data are a finite set of images."""

from __future__ import annotations

import torch
from torch import Tensor

from lightdiff.core.denoiser import Condition
from lightdiff.core.schedule import NoiseSchedule


class ExactDenoiser:
    """The mean E[x0 | x_t] where x0 is one of N given images x_1, ..., x_N, each as likely as the others.

        x0_hat = sum_i w_i x_i,    w_i = exp(l_i) / sum_j exp(l_j),    l_i = -|x_t - alpha x_i|^2 / (2 sigma^2)

    This is the minimum of the loss of denoising over all functions (Karras et al. 2022, arXiv:2206.00364, eq. 57, here for any
    alpha). At alpha = 0 it is the mean of all images. At sigma = 0 it is the image next to x_t / alpha, which is the limit for
    small sigma.

    Args:
        images: the images x0 (N, C, H, W), of a floating dtype, in the range that the schedule's x0 has.
        schedule: noise schedule.

    Raises:
        ValueError: images is empty, or has another number of dimensions or another kind of dtype.
    """

    value_range: tuple[float, float] | None = None
    """None, because a mean of images is always within their range, and clipping would change nothing."""

    def __init__(self, images: Tensor, schedule: NoiseSchedule) -> None:
        if images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
            raise ValueError(
                f"images={images.dtype} {list(images.shape)}: floating-point numbers (N, C, H, W), N of 1 or more, are expected"
            )
        self.images = images
        self.schedule = schedule

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        """Return x0_hat (B, C, H, W), in the dtype of x_t; it is computed in float64 (float32 on devices without float64).

        Args:
            x_t: noisy images (B, C, H, W).
            t: times (B,) in [0, 1].
            cond: is ignored.
        """
        scales = self.schedule.exact(t)
        alpha, sigma = scales.alpha[:, None], scales.sigma[:, None]  # (B, 1)
        images = self.images.to(x_t.device, alpha.dtype).flatten(1)  # (N, D)
        x = x_t.to(alpha.dtype).flatten(1)  # (B, D)
        # |x - alpha x_i|^2 / 2 without the part that is the same for all images, (B, N)
        distance = alpha**2 * images.square().sum(1) / 2 - alpha * (x @ images.T)
        away = distance - distance.amin(1, keepdim=True)
        # at sigma = 0 the smallest number in place of 0 leaves 0 for the next image and makes all others infinite
        weights = (-away / sigma.square().clamp(min=torch.finfo(away.dtype).tiny)).softmax(1)
        return (weights @ images).reshape(x_t.shape).to(x_t.dtype)
