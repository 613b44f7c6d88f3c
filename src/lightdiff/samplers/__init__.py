"""Samplers, which turn noise into images with any denoiser, and the uses of a trained model that are built on them.

A sampler starts from x_T = prior_std * noise and follows the times 1 = t_0 > t_1 > ... > t_N = 0 of a grid. In each step it asks
the denoiser for x0_hat(x_t, t) and computes x_s at the next time s < t from x_t, x0_hat and the schedule:

- `DDIM`: deterministic (Euler's method) at eta = 0; with added noise at eta > 0. At eta = 0 it makes use of denoisers that know
  the way from t to s.
- `DDPM`: ancestral sampling, which draws x_s from q(x_s | x_t, x0 = x0_hat).
- `Heun`: the second-order sampler of EDM, with two calls of the denoiser in a step.
- `DPMSolverMultistep`: DPM-Solver++ of second or third order with one call in a step.
- `Renoise`: multistep consistency sampling, which mixes x0_hat with new noise in each step.

`Sampler.trajectory` yields the state at every time, `Sampler.sample` returns the last one.
"""

from collections.abc import Callable
from functools import partial

from lightdiff.samplers.base import OneStepSampler, Sampler, SamplerState
from lightdiff.samplers.ddim import DDIM
from lightdiff.samplers.ddpm import DDPM
from lightdiff.samplers.dpm_solver import DPMSolverMultistep
from lightdiff.samplers.heun import Heun
from lightdiff.samplers.inpainting import KnownPixels, inpaint, inpaint_trajectory
from lightdiff.samplers.renoise import Renoise
from lightdiff.samplers.uses import encode, image_to_image, image_to_image_trajectory, interpolate, slerp

SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "heun": Heun,
    "dpmpp_2m": DPMSolverMultistep,
    "dpmpp_3m": partial(DPMSolverMultistep, order=3),
    "dpmpp_2m_sde": partial(DPMSolverMultistep, sde=True),
    "renoise": Renoise,
}
"""Sampler classes by their names in conf/sampler."""


def noiseless() -> list[str]:
    """Return the names in `SAMPLERS` of the samplers that add no noise with their usual settings."""
    return [name for name, make in SAMPLERS.items() if make().added_noise is None]


def name_of(sampler: Sampler) -> str:
    """Return the sampler's name in `SAMPLERS`, or the name of its class if it is not there."""
    for name, make in reversed(SAMPLERS.items()):
        kind, settings = (make.func, make.keywords) if isinstance(make, partial) else (make, {})
        if type(sampler) is kind and all(getattr(sampler, key) == value for key, value in settings.items()):
            return name
    return type(sampler).__name__


__all__ = [
    "DDIM",
    "DDPM",
    "SAMPLERS",
    "DPMSolverMultistep",
    "Heun",
    "KnownPixels",
    "OneStepSampler",
    "Renoise",
    "Sampler",
    "SamplerState",
    "encode",
    "image_to_image",
    "image_to_image_trajectory",
    "inpaint",
    "inpaint_trajectory",
    "interpolate",
    "name_of",
    "noiseless",
    "slerp",
]
