"""Part i: the shipped one-step model, against a single evaluation of the networks that the packages document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lightdiff.model import load_model
from lightdiff.utils.images import to_uint8
from parts.measure import FeatureDistance
from parts.ours import composed
from parts.results import Row
from parts.rivals import MATCHES, there
from parts.sampling import model_images
from parts.settings import ROOT, Settings
from parts.timing import Ratio, Rounds

STEPS = (1, 2, 4)
"""Numbers of steps of the one-step model."""
TEACHER = ("ddpm", 20)
"""Sampler and steps of the model that it was made from."""


def against_rivals(settings: Settings, chunk: int = 250) -> list[Row]:
    """Distance and speed of our steps, and the speed of one evaluation of each package's network.

    No sampler of a package needs less than one evaluation, and none of their networks draws digits with one. So their real speed
    at equal distance is lower than what is measured here.
    """
    samples = settings.samples or 5000
    path = ROOT / "models" / "mnist_one_step"
    model, teacher = (load_model(each, map_location=settings.device) for each in (path, path.with_name("mnist_fast")))
    precision = composed(settings, f"ckpt_path={path}", name="sample")["precision"]
    ours: dict[str, Callable[[range], Tensor]] = {
        f"{steps} step{'s' * (steps > 1)}": partial(
            model_images, model, "ddim", steps, precision=precision, seed=settings.seed
        )
        for steps in STEPS
    }
    many = f"mnist_fast, {TEACHER[0]}, {TEACHER[1]} steps"
    ours[many] = partial(model_images, teacher, *TEACHER, precision=precision, seed=settings.seed)
    distance = FeatureDistance(settings, image_size=28, resize_mode="none")
    parts = [range(start, min(start + chunk, samples)) for start in range(0, samples, chunk)]
    found = {name: distance(torch.cat([to_uint8(draw(rows)).cpu() for rows in parts])) for name, draw in ours.items()}
    first = next(iter(ours))
    quality = Row(
        f"feature distance, {samples} images; ratio: {first} over {many}",
        "FID",
        found,
        Ratio.of([found[first] / found[many]]),
        "at most 2",
    )
    return [quality, *_speed(settings, ours, precision, chunk)]


def _speed(settings: Settings, ours: dict[str, Callable[[range], Tensor]], precision: str, chunk: int) -> list[Row]:
    """Images a second; the packages' networks in the precision of ours, a batch at a time."""
    for line in there(*(match.package for match in MATCHES.values())):
        print(f"left out: {line}", flush=True)
    dtype = settings.dtypes.get(precision)
    batch = settings.batch
    sizes = dict.fromkeys(ours, chunk)
    sides: dict[str, Callable[[], object]] = {name: partial(draw, range(chunk)) for name, draw in ours.items()}
    for name, match in MATCHES.items():
        try:
            network = match.theirs().to(settings.device).eval()
        except Exception as error:
            print(f"left out: {name}: {error}", flush=True)
            continue
        sides[name] = partial(_evaluate, network, batch, settings.device, dtype)
        sizes[name] = batch
    rounds = Rounds(0, settings.synchronize)
    for side in sides.values():
        side()
    for _ in range(settings.repeats):
        for name, side in sides.items():
            rounds.lap(name, side)
    # seconds an image, since the sides draw different numbers of images in a lap
    for name, size in sizes.items():
        rounds.seconds[name] = [seconds / size for seconds in rounds.seconds[name]]
    first, rivals = next(iter(ours)), [name for name in sides if name in MATCHES]
    return [
        Row(
            f"{precision}; of the packages one evaluation of the documented network; ratio: {first} against the faster of them",
            "images/s",
            {name: 1 / rounds.median(name) for name in sides},
            rounds.ratio(min(rivals, key=rounds.median), first) if rivals else None,
            "at least 20",
            {"seconds an image": rounds.seconds},
        )
    ]


@torch.inference_mode()
def _evaluate(network: torch.nn.Module, batch: int, device: str, dtype: torch.dtype | None) -> Tensor:
    """One evaluation of a package's network for images (batch, 1, 32, 32)."""
    x = torch.randn(batch, 1, 32, 32, device=device)
    t = torch.full((batch,), 500, device=device)
    with torch.autocast(device, dtype, enabled=dtype is not None):
        output = network(x, t)
    return getattr(output, "sample", output)
