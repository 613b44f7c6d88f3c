"""Parts c and h: drawing images, against the packages with the same network, and few steps against many with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lightdiff.core import DiscreteSchedule, linear_betas
from lightdiff.model import DiffusionModel, Generation, load_model
from lightdiff.networks import DiffusersUNet2D
from lightdiff.utils.images import to_uint8
from parts.measure import FeatureDistance
from parts.ours import composed
from parts.results import Row
from parts.rivals import denoising_diffusion, diffusers, diffusers_images, gaussian_diffusion, there
from parts.settings import ROOT, Settings, Skipped
from parts.timing import Ratio, Rounds

CASES = (("ddim", 20), ("ddim", 50), ("dpmpp_2m", 20), ("ddpm", 1000))
MANY = 200
"""From so many steps on, part c draws a quarter of the images, in three rounds at most."""
FAST = ("ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_sde")
"""Samplers that part h lets take few steps."""


def against_rivals(settings: Settings, cases: tuple[tuple[str, int], ...] = CASES) -> list[Row]:
    """Part c: ours and theirs around one untrained network, so that only what surrounds it differs."""
    return list(rows_against_rivals(settings, cases))


def rows_against_rivals(settings: Settings, cases: tuple[tuple[str, int], ...]) -> Iterator[Row]:
    """Yield the rows of part c as they are measured."""
    diffusers()  # whose network it is
    for line in there(denoising_diffusion, diffusers):
        print(f"left out: {line}", flush=True)
    torch.manual_seed(settings.seed)
    network = DiffusersUNet2D(widths=(32, 64, 64), attention_levels=(1, 2)).to(settings.device).eval()
    model = DiffusionModel(network, DiscreteSchedule(linear_betas(1000)), ema_decay=None).to(settings.device).eval()
    for sampler, steps in cases:
        for precision in settings.dtypes:
            many = steps >= MANY
            batch = max(1, settings.batch // 4) if many else settings.batch
            draw = samplers_of(model, network, sampler, replace(settings, batch=batch), precision)
            rounds = Rounds(0, settings.synchronize)
            for side in draw.values():
                side(min(steps, 3))
            for _ in range(min(3, settings.repeats) if many else settings.repeats):
                for name, side in draw.items():
                    rounds.lap(name, partial(side, steps))
            rivals = [name for name in draw if name != "ours"]
            yield Row(
                f"{sampler}, {steps} steps, {precision}, batch {batch}; ratio: against the faster of them",
                "images/s",
                {name: batch / rounds.median(name) for name in draw},
                rounds.ratio(min(rivals, key=rounds.median), "ours"),
                details={"seconds": rounds.seconds},
            )


def samplers_of(
    model: DiffusionModel, network: DiffusersUNet2D, sampler: str, settings: Settings, precision: str
) -> dict[str, Callable[[int], Tensor]]:
    """steps -> images, by side; the packages run as a whole within autocast, ours has its own setting."""
    shape, dtype = model.image_shape, settings.dtypes[precision]

    def ours(steps: int) -> Tensor:
        return model_images(model, sampler, steps, range(settings.batch), precision, settings.seed)

    def diffusers_side(steps: int) -> Tensor:
        noise = torch.randn(settings.batch, *shape, device=settings.device)
        with torch.autocast(settings.device, dtype, enabled=dtype is not None):
            return diffusers_images(network.unet, sampler, noise, steps)

    def denoising_side(steps: int) -> Tensor:
        every = sampler == "ddpm" and steps == 1000
        diffusion = gaussian_diffusion(network, shape, None if every else steps).to(settings.device)
        with torch.autocast(settings.device, dtype, enabled=dtype is not None):
            return diffusion.sample(batch_size=settings.batch)

    sides: dict[str, Callable[[int], Tensor]] = {"ours": ours, "diffusers": diffusers_side}
    try:
        denoising_diffusion()
    except Skipped:
        return sides
    return {**sides, "denoising-diffusion-pytorch": denoising_side} if sampler in ("ddpm", "ddim") else sides


def model_images(model: DiffusionModel, sampler: str, steps: int, rows: range, precision: str, seed: int) -> Tensor:
    """Images of ours."""
    generation = Generation.of(model, sampler=sampler, num_steps=steps, seed=seed, precision=precision)
    return generation.images(model, rows, batch_size=len(rows))


def few_steps(settings: Settings, many: int = 1000, few: int = 20, chunk: int = 128) -> list[Row]:
    """Part h: the shipped model, `few` steps of each sampler against `many` of ddpm, from the same starting noise."""
    samples = settings.samples or 2000
    path = ROOT / "models" / "mnist_fast"
    model = load_model(path, map_location=settings.device)
    precision = composed(settings, f"ckpt_path={path}", name="sample")["precision"]
    distance = FeatureDistance(settings, image_size=28, resize_mode="none")
    sides = {f"ddpm, {many}": ("ddpm", many), **{f"{name}, {few}": (name, few) for name in FAST}}
    rounds = Rounds(0, settings.synchronize)
    images: dict[str, list[Tensor]] = {name: [] for name in sides}
    for sampler in FAST:
        model_images(model, sampler, 2, range(chunk), precision, settings.seed)
    for start in range(0, samples, chunk):
        rows = range(start, min(start + chunk, samples))
        for name, (sampler, steps) in sides.items():
            draw = partial(model_images, model, sampler, steps, rows, precision, settings.seed)
            rounds.lap(name, lambda name=name, draw=draw: images[name].append(to_uint8(draw()).cpu()))
    found = {name: distance(torch.cat(images[name])) for name in sides}
    first, *others = sides
    best = min(others, key=lambda name: found[name])
    quality = found[best] / found[first]
    return [
        Row(
            f"feature distance, {samples} images; ratio: {best} over {first}",
            "FID",
            found,
            Ratio.of([quality]),
            "at most 1.05",
        ),
        Row(
            f"{samples} images; ratio: {best}",
            "images/s",
            {name: samples / sum(rounds.seconds[name]) for name in sides},
            rounds.ratio(first, best),
            "at least 40",
            {"precision": precision, "seconds": rounds.seconds},
        ),
    ]
