"""The discrete schedule of DDPM, which is defined by a table of betas and preserves the variance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightdiff.core.grid import TimeGrid, TrailingGrid
from lightdiff.core.scales import LOG_SNR_BOUNDS, Scales
from lightdiff.core.schedule import NoiseSchedule


class DiscreteSchedule(NoiseSchedule):
    """The schedule of DDPM with T timesteps, interpolated to all times in [0, 1].

        alpha(t) = sqrt(alphas_cumprod(t)),    sigma(t) = sqrt(1 - alphas_cumprod(t)),    alphas_cumprod = cumprod(1 - betas)

    (Ho et al. 2020, arXiv:2006.11239, eq. 4). The time t = k/T is the timestep k - 1, for k = 1, ..., T; at t = 0
    alphas_cumprod is 1. Between these points alphas_cumprod is linear in t. By default the network gets the integer timestep.

    Args:
        betas: T numbers in (0, 1), of which the last may be 1: a tensor (T,) or a list.
        zero_terminal_snr: shift and scale sqrt(alphas_cumprod) so that it is 0 at t = 1, where x_t is then pure noise (Lin et
            al. 2023, arXiv:2305.08891, algorithm 1).

    Raises:
        ValueError: betas is empty, not one-dimensional or out of range, or has fewer than 2 entries with zero_terminal_snr.
    """

    time_input = "timestep"

    def __init__(self, betas: Tensor | Sequence[float], zero_terminal_snr: bool = False) -> None:
        # a schedule that is built while sampling can be used in training too
        with torch.inference_mode(False):
            self.betas = torch.as_tensor(betas, dtype=torch.float64, device="cpu").detach().clone()
            self.zero_terminal_snr = zero_terminal_snr
            _check(self.betas, zero_terminal_snr)
            log_product = torch.log1p(-self.betas).cumsum(0)
            self.alphas_cumprod = log_product.exp()
            # this is 1 - alphas_cumprod, without the loss of digits where alphas_cumprod is close to 1
            noise_part = -torch.expm1(log_product)
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
        """Number of timesteps T."""
        return len(self.betas)

    @property
    def default_grid(self) -> TimeGrid:
        return TrailingGrid()

    def timestep(self, t: Tensor) -> Tensor:
        """Return the timestep nearest to each time t (B,): int64 (B,) in 0, ..., T - 1."""
        T = self.num_train_timesteps
        return (t.detach().to(torch.float32) * T).round().long().clamp(1, T) - 1

    def snap(self, t: Tensor) -> Tensor:
        T = self.num_train_timesteps
        # 1e-4 keeps a time k/T that rounding has made slightly larger at timestep k - 1
        return (t * T - 1e-4).ceil().clamp(1, T) / T

    def _table(self, like: Tensor) -> Tensor:
        """Return alphas_cumprod, 1 - alphas_cumprod and -log_snr at t = 0, 1/T, ..., 1: (3, T + 1), on the device of `like`."""
        if like.device not in self._tables:
            with torch.inference_mode(False):
                self._tables[like.device] = self._tables[torch.device("cpu")].to(like.device, like.dtype)
        return self._tables[like.device]

    def _at(self, t: Tensor) -> Scales:
        T, table = self.num_train_timesteps, self._table(t)
        # clamp alone would have the derivative 0 at the last timestep
        position = torch.where((t >= 0) & (t <= 1), t * T, (t * T).clamp(0, T))
        below = position.floor().long().clamp(max=T - 1)
        image_part, noise_part = torch.lerp(table[:2, below], table[:2, below + 1], position - below)
        return Scales(image_part.sqrt(), noise_part.sqrt())

    def _time_of(self, log_snr: Tensor) -> Tensor:
        T, table = self.num_train_timesteps, self._table(log_snr)
        below = torch.searchsorted(table[2], -log_snr).clamp(1, T) - 1
        (image_low, noise_low), (image_high, noise_high) = table[:2, below], table[:2, below + 1]
        by_image = (image_low - log_snr.sigmoid()) / (image_low - image_high)
        by_noise = ((-log_snr).sigmoid() - noise_low) / (noise_high - noise_low)
        # the smaller of alphas_cumprod and 1 - alphas_cumprod keeps more digits, so the position is computed from that one
        part = torch.where(log_snr < 0, by_image, by_noise)
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
