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
    "slerp",
]
