"""DiscreteSchedule: variance-preserving diffusion given by a table of betas."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdiff.core.grid import TimeGrid, TrailingGrid
from lightdiff.core.schedule import LOG_SNR_BOUNDS, NoiseSchedule


class DiscreteSchedule(NoiseSchedule):
    """T timesteps of DDPM (Ho et al. 2020, arXiv:2006.11239, eq. 4), continued to all times between them.

        alpha(t) = sqrt(alphas_cumprod(t)), sigma(t) = sqrt(1 - alphas_cumprod(t))

    t = k/T is timestep k - 1, with alphas_cumprod = 1 at t = 0 in front of the table; between these points alphas_cumprod is
    linear in t. The network is told the integer timestep.

    Args:
        betas: (T,) in (0, 1), the last one at most 1: a tensor or a list of numbers.
        zero_terminal_snr: shift and scale sqrt(alphas_cumprod) so that nothing of the image is left at t = 1 (Lin et al. 2023,
            arXiv:2305.08891, algorithm 1).

    Raises:
        ValueError: betas that are empty, not a list of numbers, or out of range; zero_terminal_snr with fewer than 2 betas.
    """

    time_input = "timestep"

    def __init__(self, betas: Tensor | Sequence[float], zero_terminal_snr: bool = False) -> None:
        with torch.inference_mode(False):  # tables that are made while sampling serve training too
            self.betas = torch.as_tensor(betas, dtype=torch.float64, device="cpu").detach().clone()
            self.zero_terminal_snr = zero_terminal_snr
            _check(self.betas, zero_terminal_snr)
            log_product = torch.log1p(-self.betas).cumsum(0)
            self.alphas_cumprod = log_product.exp()
            noise_part = -torch.expm1(log_product)  # 1 - alphas_cumprod without cancellation
            if zero_terminal_snr:
                roots = self.alphas_cumprod.sqrt()
                self.alphas_cumprod = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
                noise_part = 1 - self.alphas_cumprod
            image_part = torch.cat([torch.ones(1, dtype=torch.float64), self.alphas_cumprod])
            noise_part = torch.cat([torch.zeros(1, dtype=torch.float64), noise_part])
            noisiness = (noise_part.log() - image_part.log()).clamp(*LOG_SNR_BOUNDS)
        self._tables = {torch.device("cpu"): torch.stack([image_part, noise_part, noisiness])}

    @property
    def num_train_timesteps(self) -> int:
        """T."""
        return len(self.betas)

    @property
    def default_grid(self) -> TimeGrid:
        return TrailingGrid()

    def timestep(self, t: Tensor) -> Tensor:
        """The integer a network sees: int64 (B,) in 0, ..., T - 1, that of the nearest point of the table."""
        T = self.num_train_timesteps
        return (t.detach().to(torch.float32) * T).round().long().clamp(1, T) - 1

    def snap(self, t: Tensor) -> Tensor:
        T = self.num_train_timesteps
        return (t * T - 1e-4).ceil().clamp(1, T) / T  # a point of the table that was rounded up stays

    def _table(self, like: Tensor) -> Tensor:
        """(3, T + 1): alphas_cumprod, 1 - alphas_cumprod, -log_snr at t = 0, 1/T, ..., 1 on the device of `like`."""
        if like.device not in self._tables:
            with torch.inference_mode(False):
                self._tables[like.device] = self._tables[torch.device("cpu")].to(like.device, like.dtype)
        return self._tables[like.device]

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        T, table = self.num_train_timesteps, self._table(t)
        position = (t * T).clamp(0, T)
        below = position.floor().long().clamp(max=T - 1)
        image_part, noise_part = torch.lerp(table[:2, below], table[:2, below + 1], position - below)
        return image_part.sqrt(), noise_part.sqrt()

    def _time_of(self, log_snr: Tensor) -> Tensor:
        T, table = self.num_train_timesteps, self._table(log_snr)
        below = torch.searchsorted(table[2], -log_snr).clamp(1, T) - 1
        (image_low, noise_low), (image_high, noise_high) = table[:2, below], table[:2, below + 1]
        by_image = (image_low - log_snr.sigmoid()) / (image_low - image_high)
        by_noise = ((-log_snr).sigmoid() - noise_low) / (noise_high - noise_low)
        part = torch.where(log_snr < 0, by_image, by_noise)  # the smaller of the two is the exact one
        return (below + part.clamp(0, 1)) / T


def _check(betas: Tensor, zero_terminal_snr: bool) -> None:
    if betas.ndim != 1 or len(betas) == 0:
        raise ValueError(f"betas={list(betas.shape)} numbers: a list of at least one number is expected")
    wrong = ~((betas > 0) & (betas < 1))
    wrong[-1] = not 0 < betas[-1] <= 1
    if wrong.any():
        k = int(wrong.nonzero()[0])
        raise ValueError(f"betas={betas[k]:g} at index {k}: numbers in (0, 1) are expected (the last may be 1)")
    if zero_terminal_snr and len(betas) < 2:
        raise ValueError("zero_terminal_snr=true: at least 2 betas are expected")
