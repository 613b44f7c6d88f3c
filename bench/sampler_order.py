"""Accuracy of every sampler on every schedule, measured where the exact answer is known.

The data are Gaussian with independent pixels, N(mean, std^2): the best denoiser and the exact solution of the probability flow
are closed forms. In float64:

- order: minus the slope of log error over log steps (64 to 512) between two fixed times, on a grid uniform in log-SNR;
- error at 10, 20, 50 steps: from x_T = prior_std * noise down to t = 0 on the schedule's default grid.

The error of a deterministic sampler is that of its images against the exact ones, root mean square. That of a sampler which adds
noise is that of its mean and standard deviation at each pixel, root mean square of both; they are propagated exactly, nothing is
drawn. The two kinds of error do not compare with each other.

    python bench/sampler_order.py                       # the table, and docs/images/sampler_order.png; seconds on a CPU
    python bench/sampler_order.py --figure orders.png   # the figure elsewhere
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from closed_forms import GaussianData, final_moments, rms, scales, slope
from lightdiff.core import (
    DiscreteSchedule,
    EDMSchedule,
    FlowSchedule,
    LogSNRGrid,
    NoiseSchedule,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
    sigmoid_betas,
)
from lightdiff.samplers import DDIM, DDPM, DPMSolverMultistep, Heun, Sampler

SCHEDULES: dict[str, NoiseSchedule] = {
    "linear": DiscreteSchedule(linear_betas(1000)),
    "scaled_linear": DiscreteSchedule(scaled_linear_betas(1000)),
    "cosine": DiscreteSchedule(cosine_betas(1000)),
    "sigmoid": DiscreteSchedule(sigmoid_betas(1000)),
    "linear, zero terminal SNR": DiscreteSchedule(linear_betas(1000), zero_terminal_snr=True),
    "flow": FlowSchedule(),
    "edm": EDMSchedule(),
}
SAMPLERS: dict[str, Sampler] = {
    "ddim": DDIM(),
    "heun": Heun(),
    "dpmpp_2m": DPMSolverMultistep(),
    "dpmpp_3m": DPMSolverMultistep(order=3),
    "ddpm": DDPM(),
    "dpmpp_2m_sde": DPMSolverMultistep(sde=True),
}
INNER = LogSNRGrid(log_snr_min=-4.0, log_snr_max=4.0, final_zero=False)
FEW, MANY = (10, 20, 50), (64, 128, 256, 512)
FIGURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "sampler_order.png"


def data_on(schedule: NoiseSchedule) -> GaussianData:
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64) - 0.5
    std = 0.1 + 0.5 * torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    return GaussianData(schedule, mean, std)


def noise(count: int) -> Tensor:
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def order(sampler: Sampler, schedule: NoiseSchedule) -> float:
    """Measured order between fixed times, from the exact distribution at the first of them."""
    sampler = replace(sampler, grid=INNER)
    errors = []
    for num_steps in MANY:
        first = sampler.times(schedule, num_steps)[0].item()
        data = data_on(schedule)
        errors.append(error(sampler, data, num_steps, scales(schedule, first)[0] * data.mean, data.spread(first)))
    return slope(MANY, errors)


def error_from_noise(sampler: Sampler, schedule: NoiseSchedule, num_steps: int) -> float:
    """Error down to t = 0 on the default grid, from x_T = prior_std * noise."""
    data = data_on(schedule)
    return error(sampler, data, num_steps, torch.zeros_like(data.mean), torch.full_like(data.std, schedule.prior_std))


def error(sampler: Sampler, data: GaussianData, num_steps: int, mean: Tensor, std: Tensor) -> float:
    """Error of images, or of moments where noise is added on the way, started from N(mean, std^2)."""
    grid = sampler.times(data.schedule, num_steps)
    first, last = grid[0].item(), grid[-1].item()
    if sampler.added_noise is None:
        x_T = mean + std * noise(8)
        return rms(sampler.sample(data, x_T, num_steps) - data.flow(x_T, first, last))
    final_mean, final_std = final_moments(sampler, data, num_steps, mean, std)
    error_of_mean = rms(final_mean - scales(data.schedule, last)[0] * data.mean)
    return (error_of_mean**2 + rms(final_std - data.spread(last)) ** 2) ** 0.5


Row = tuple[str, str, float, list[float]]
"""Sampler, schedule, order, errors at FEW steps."""


def measure() -> list[Row]:
    """Every sampler on every schedule."""
    return [
        (name, on, order(sampler, schedule), [error_from_noise(sampler, schedule, n) for n in FEW])
        for on, schedule in SCHEDULES.items()
        for name, sampler in SAMPLERS.items()
    ]


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        f"| schedule | sampler | order | {' | '.join(f'error, {n} steps' for n in FEW)} |",
        "|---|---|---|---|---|---|",
    ]
    for sampler, schedule, measured, errors in rows:
        lines.append(f"| {schedule} | {sampler} | {measured:.2f} | {' | '.join(f'{value:.1e}' for value in errors)} |")
    return "\n".join(lines)


def draw(rows: list[Row], path: Path) -> None:
    """Error against steps, a panel for each schedule."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 4, figsize=(14, 6), sharex=True, sharey=True)
    for panel, schedule in zip(panels.flat, SCHEDULES, strict=False):
        for sampler, of, _, errors in rows:
            if of == schedule:
                panel.loglog(FEW, errors, marker="o", label=sampler)
        panel.set_title(schedule)
        panel.set_xticks(FEW, labels=[str(n) for n in FEW])
        panel.minorticks_off()
    panels.flat[-1].axis("off")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    panels.flat[-1].legend(handles, labels, loc="center")
    figure.supxlabel("steps")
    figure.supylabel("error at t = 0")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--figure", type=Path, default=FIGURE, help="file for the picture of error against steps")
    arguments = parser.parse_args()
    rows = measure()
    print(table(rows))
    draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
