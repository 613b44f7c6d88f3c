"""How well images are restored, without training for it: PSNR, and whether a classifier reads them as what they show.

The first test images of MNIST, or with --split train the first training images, are reduced by a factor of 4 to 7 x 7 pixels
(the mean of each square), with a little noise, and restored by a model of models/ without a class, once each. All methods use the
same network, as often: 50 steps. The classifier is that of the metrics, which was trained on the training images.

With --azula, methods of the package azula (`pip install azula`) restore the same measurements with the same network. Its DPS
divides by the norm of the residual of the whole batch, so that its strength is multiplied by the square root of the number of
images.

    python bench/restoration.py --data-dir data --azula          # the table of docs/inverse.md; five minutes on a core
    python bench/restoration.py --data-dir data --images 20      # quicker and rougher
    python bench/restoration.py --data-dir data --split train    # by which the default of restore.py was chosen
    python bench/restoration.py --data-dir data --operator blur  # other measurements: blur, inpaint, compressed_sensing
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightdiff import DiffSet, DiffusionModel, load_model
from lightdiff.commands.restorations import psnr
from lightdiff.core import BlockGenerator, GaussianNoise, keyed_generator
from lightdiff.inverse import (
    DPS,
    Blur,
    CompressedSensing,
    DiffPIR,
    Inpaint,
    LinearOperator,
    Measurement,
    MomentMatching,
    PiGDM,
    SuperResolution,
)
from lightdiff.metrics.classifier import load_classifier
from lightdiff.samplers import DDIM, DDPM, Renoise, Sampler
from lightdiff.utils.images import to_uint8

FACTOR, NOISE_STD, NUM_STEPS = 4, 0.05, 50
OURS: dict[str, tuple[Callable[..., Measurement], Sampler]] = {
    "PiGDM, renoise": (PiGDM, Renoise(clip_denoised=True)),
    "DPS, renoise": (DPS, Renoise(clip_denoised=True)),
    "DiffPIR, renoise": (DiffPIR, Renoise(clip_denoised=True)),
    "PiGDM, ddpm": (PiGDM, DDPM(clip_denoised=True)),
    "DPS, ddpm": (DPS, DDPM(clip_denoised=True)),
    "DiffPIR, ddpm": (DiffPIR, DDPM(clip_denoised=True)),
    "PiGDM, ddim": (PiGDM, DDIM(clip_denoised=True)),
    "moment matching, ddpm": (MomentMatching, DDPM(clip_denoised=True)),
}
"""Rows of the table: method and sampler, with their defaults."""


def lower_half_unknown(shape: tuple[int, int, int]) -> Inpaint:
    """Return the operator that takes the upper half of an image (C, H, W)."""
    mask = torch.zeros(1, 1, *shape[1:], dtype=torch.bool)
    mask[..., shape[1] // 2 :, :] = True
    return Inpaint(shape, mask=mask)


OPERATORS: dict[str, Callable[..., LinearOperator]] = {
    "super_resolution": partial(SuperResolution, factor=FACTOR),
    "blur": partial(Blur, std=2.0),
    "inpaint": lower_half_unknown,
    "compressed_sensing": partial(CompressedSensing, share=0.25),
}
"""What is measured: a function of the shape (C, H, W) of the images."""
AZULA = {
    "azula: PGDM, eta 1": ("pgdm", {"eta": 1.0}),
    "azula: DPS, zeta 1": ("dps", {"zeta": 1.0}),
    "azula: DPS, zeta 2": ("dps", {"zeta": 2.0}),
    "azula: DPS, zeta 4": ("dps", {"zeta": 4.0}),
    "azula: DiffPIR, lambda 1, ddpm": ("diffpir", {"lmbda": 1.0}),
    "azula: PGDM, eta 0": ("pgdm", {"eta": 0.0}),
}
"""Rows of the other package."""


def null_cond(model: DiffusionModel, count: int) -> dict[str, Tensor] | None:
    """Return the condition of no class for that many images."""
    if model.conditioning is None:
        return None
    null = model.conditioning.null()
    return {name: value.detach().expand(count, *value.shape[1:]).clone() for name, value in null.items()}


def restored(model: DiffusionModel, denoiser: Measurement, sampler: Sampler, count: int, num_steps: int) -> Tensor:
    """Return `count` restorations (count, C, H, W) as x0."""
    cond, generator = null_cond(model, count), BlockGenerator(0, 0, count, "cpu")
    x_T = GaussianNoise().like(torch.empty(count, *model.image_shape), generator)
    with torch.inference_mode():
        return sampler.sample(denoiser, model.schedule.prior_std * x_T, num_steps, cond, generator)


def restored_by_azula(
    model: DiffusionModel, operator: LinearOperator, y: Tensor, kind: str, settings: dict[str, Any], num_steps: int
) -> Tensor:
    """Return restorations (N, C, H, W) as x0 by a method of azula on its rectified schedule."""
    from azula.denoise import Denoiser, DiracPosterior
    from azula.guidance.diffpir import DiffPIRDenoiser
    from azula.guidance.dps import DPSSampler
    from azula.guidance.pgdm import PGDMSampler
    from azula.noise import RectifiedSchedule
    from azula.sample import DDPMSampler

    shape, cond = (len(y), *model.image_shape), null_cond(model, len(y))

    class Adapted(Denoiser):
        """The network on azula's schedule, which is the flow schedule but for its ends. Its vectors are flat for DiffPIR."""

        def __init__(self) -> None:
            super().__init__()
            self.schedule = RectifiedSchedule()

        def forward(self, x_t: Tensor, t: Tensor) -> DiracPosterior:
            alpha, sigma = self.schedule(t)
            time = (sigma / (alpha + sigma)).expand(len(x_t))
            x0_hat = model.denoiser((x_t / (alpha + sigma)).reshape(shape), time, cond)
            return DiracPosterior(mean=x0_hat.reshape(x_t.shape))

    common = {"steps": num_steps, "silent": True}
    torch.manual_seed(0)
    x_T = torch.randn(shape)
    if kind == "dps":
        zeta = settings["zeta"] * math.sqrt(len(y))
        return DPSSampler(Adapted(), y, operator, zeta=zeta, **common)(x_T)
    if kind == "pgdm":
        pseudo_inverse = partial(_pseudo_inverse, operator)
        return PGDMSampler(Adapted(), y, operator, pseudo_inverse, **settings, **common)(x_T)

    def flat(x: Tensor) -> Tensor:
        return operator(x.reshape(shape)).flatten(1)

    denoiser = DiffPIRDenoiser(Adapted(), y.flatten(1), flat, var_y=NOISE_STD**2, **settings)
    return DDPMSampler(denoiser, **common)(x_T.flatten(1)).reshape(shape)


def _pseudo_inverse(operator: LinearOperator, y: Tensor) -> Tensor:
    return operator.adjoint(operator.solve(y, torch.zeros(len(y))))


def _named(methods: dict[str, Any], only: str) -> list[tuple[str, Any]]:
    return [(name, method) for name, method in methods.items() if only in name]


def rows(
    model: DiffusionModel,
    images: Tensor,
    labels: Tensor,
    num_steps: int,
    only: str,
    with_azula: bool,
    measured: str = "super_resolution",
) -> Iterator[str]:
    """Yield the lines of the table in Markdown.

    Args:
        model: the model.
        images: uint8 (N, C, H, W).
        labels: their classes (N,).
        num_steps: steps of each sampler.
        only: a word that the names of the measured methods have.
        with_azula: whether the other package's methods are measured too.
        measured: a name of `OPERATORS`.
    """
    operator, classifier = OPERATORS[measured](model.image_shape), load_classifier("mnist").network
    y = operator(model.encode(images))
    y = y + NOISE_STD * torch.randn(y.shape, generator=keyed_generator("cpu", "measurement", 0))

    def row(name: str, x0: Tensor, seconds: float) -> str:
        found = to_uint8(model.codec.decode(x0.detach()))
        with torch.no_grad():
            read = (classifier(found)[1].argmax(1) == labels).double().mean()
        residual = (operator(x0.detach()) - y).square().mean().sqrt()
        # standard error of the mean
        values = psnr(found, images)
        error = values.std() / math.sqrt(len(values))
        return f"| {name} | {values.mean():.2f} ± {error:.2f} | {100 * read:.1f} % | {residual:.3f} | {seconds:.0f} |"

    yield "| method, sampler | PSNR in dB | read as the digit | residual | seconds |"
    yield "|---|---|---|---|---|"
    yield row("the images themselves", model.encode(images), 0)
    yield row("the pseudoinverse of the measurement", _pseudo_inverse(operator, y), 0)
    for name, (make, sampler) in _named(OURS, only):
        start = time.process_time()
        x0 = restored(model, make(model.denoiser, operator, y, NOISE_STD), sampler, len(y), num_steps)
        yield row(name, x0, time.process_time() - start)
    for name, (kind, settings) in _named(AZULA, only) if with_azula else ():
        start = time.process_time()
        x0 = restored_by_azula(model, operator, y, kind, settings, num_steps)
        yield row(name, x0, time.process_time() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="models/mnist_fast", help="run folder, checkpoint or exported model of digits"
    )
    parser.add_argument("--data-dir", default="data", help="folder with MNIST")
    parser.add_argument("--split", choices=["train", "val"], default="val", help="training images or test images")
    parser.add_argument("--operator", choices=list(OPERATORS), default="super_resolution", help="what is measured")
    parser.add_argument("--images", type=int, default=100, help="number of images")
    parser.add_argument("--steps", type=int, default=NUM_STEPS, help="steps of each sampler")
    parser.add_argument("--azula", action="store_true", help="measure the methods of the package azula too")
    parser.add_argument("--only", default="", help="measure only methods with this word in their name")
    options = parser.parse_args()
    model = load_model(options.model)
    channels, height, width = model.image_shape
    data = DiffSet("mnist", data_dir=options.data_dir, channels=channels, image_size=[height, width])
    data.setup()
    batch = data.splits.of(options.split)[range(options.images)]
    for line in rows(
        model, batch["image"], batch["label"], options.steps, options.only, options.azula, options.operator
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main()
