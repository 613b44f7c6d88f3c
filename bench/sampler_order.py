"""Accuracy of every sampler on every schedule, measured where the exact answer is known.

The data are Gaussian with independent pixels, N(mean, std^2): the best denoiser and the exact solution of the probability flow
are closed forms. In float64:

- order: minus the slope of log error over log steps (64 to 512) between two fixed times, on a grid uniform in log-SNR;
- error at 10, 20, 50 steps: from x_T = prior_std * noise down to t = 0 on the schedule's default grid, root mean square
  against the exact image. For samplers that add noise: error of mean and standard deviation, averaged over pixels, from
  20,000 images.

    python bench/sampler_order.py                  # a table; about a minute on a CPU
    python bench/sampler_order.py --figure orders.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from closed_forms import GaussianData, rms, scales, slope
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
DETERMINISTIC: dict[str, type[Sampler]] = {"ddim": DDIM, "heun": Heun, "dpmpp_2m": DPMSolverMultistep}
STOCHASTIC: dict[str, Sampler] = {
    "ddpm": DDPM(),
    "dpmpp_2m_sde": DPMSolverMultistep(sde=True),
}
INNER = LogSNRGrid(log_snr_min=-4.0, log_snr_max=4.0, final_zero=False)
FEW, MANY = (10, 20, 50), (64, 128, 256, 512)


def data_on(schedule: NoiseSchedule) -> GaussianData:
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64) - 0.5
    std = 0.1 + 0.5 * torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    return GaussianData(schedule, mean, std)


def noise(count: int) -> Tensor:
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def order(sampler: Sampler, schedule: NoiseSchedule) -> float:
    """Measured order between fixed times."""
    data = data_on(schedule)
    errors = []
    for num_steps in MANY:
        grid = sampler.times(schedule, num_steps)
        first, last = grid[0].item(), grid[-1].item()
        x_t = scales(schedule, first)[0] * data.mean + data.spread(first) * noise(8)
        errors.append(rms(sampler.sample(data, x_t, num_steps) - data.flow(x_t, first, last)))
    return slope(MANY, errors)


def error(sampler: Sampler, schedule: NoiseSchedule, num_steps: int) -> float:
    """Error down to t = 0 on the default grid, image by image."""
    data = data_on(schedule)
    x_T = schedule.prior_std * noise(8)
    return rms(sampler.sample(data, x_T, num_steps) - data.flow(x_T, 1.0, 0.0))


def error_of_moments(sampler: Sampler, schedule: NoiseSchedule, num_steps: int) -> float:
    """Error of mean and standard deviation of many images."""
    data = data_on(schedule)
    generator = torch.Generator().manual_seed(2)
    x = sampler.sample(data, schedule.prior_std * noise(20_000), num_steps, generator=generator)
    return (rms(x.mean(0) - data.mean) ** 2 + rms(x.std(0) - data.std) ** 2) ** 0.5


def measure() -> list[tuple[str, str, float | None, list[float]]]:
    """(sampler, schedule, order or None, errors at FEW steps) of each pair."""
    rows: list[tuple[str, str, float | None, list[float]]] = []
    for schedule_name, schedule in SCHEDULES.items():
        for name, kind in DETERMINISTIC.items():
            errors = [error(kind(), schedule, num_steps) for num_steps in FEW]
            rows.append((name, schedule_name, order(kind(grid=INNER), schedule), errors))
        for name, sampler in STOCHASTIC.items():
            rows.append((name, schedule_name, None, [error_of_moments(sampler, schedule, n) for n in FEW]))
    return rows


def table(rows: list[tuple[str, str, float | None, list[float]]]) -> str:
    """The rows in Markdown."""
    lines = [
        f"| schedule | sampler | order | {' | '.join(f'error, {n} steps' for n in FEW)} |",
        "|---|---|---|---|---|---|",
    ]
    for sampler, schedule, measured, errors in rows:
        shown = "–" if measured is None else f"{measured:.2f}"
        lines.append(f"| {schedule} | {sampler} | {shown} | {' | '.join(f'{value:.1e}' for value in errors)} |")
    return "\n".join(lines)


def draw(rows: list[tuple[str, str, float | None, list[float]]], path: Path) -> None:
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
    parser.add_argument("--figure", type=Path, help="also draw error against steps into this file")
    arguments = parser.parse_args()
    rows = measure()
    print(table(rows))
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
