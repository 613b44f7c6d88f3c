"""Samplers: from noise to images with any denoiser, and the uses of a trained model built on them."""

from collections.abc import Callable
from functools import partial

from lightdiff.samplers.base import OneStepSampler, Sampler, SamplerState
from lightdiff.samplers.ddim import DDIM
from lightdiff.samplers.ddpm import DDPM
from lightdiff.samplers.dpm_solver import DPMSolverMultistep
from lightdiff.samplers.heun import Heun
from lightdiff.samplers.uses import KnownPixels, encode, image_to_image, inpaint, interpolate, slerp

SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "heun": Heun,
    "dpmpp_2m": DPMSolverMultistep,
    "dpmpp_2m_sde": partial(DPMSolverMultistep, sde=True),
}
"""Samplers by the name they have in conf/sampler."""


def name_of(sampler: Sampler) -> str:
    """Its name in `SAMPLERS`; that of its class where it has none."""
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
    "Sampler",
    "SamplerState",
    "encode",
    "image_to_image",
    "inpaint",
    "interpolate",
    "name_of",
    "slerp",
]
