"""The two packages that we are measured against: their networks and samplers, called as they document it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lightdiff.networks import DiffusersUNet2D, ResUNet
from parts.settings import INSTALL, Skipped


def denoising_diffusion() -> ModuleType:
    """The package denoising-diffusion-pytorch, without its progress bars."""
    try:
        import denoising_diffusion_pytorch as package
    except ImportError as error:
        raise Skipped(f"denoising-diffusion-pytorch is not installed: {INSTALL}") from error
    package.denoising_diffusion_pytorch.tqdm = partial(tqdm, disable=True)
    return package


def diffusers() -> ModuleType:
    """The package diffusers."""
    try:
        import diffusers
    except ImportError as error:
        raise Skipped(f"diffusers is not installed: {INSTALL}") from error
    return diffusers


def there(*packages: Callable[[], ModuleType]) -> list[str]:
    """What is missing of them, in words; Skipped where nothing is there."""
    missing = []
    for package in packages:
        try:
            package()
        except Skipped as error:
            missing.append(str(error))
    if len(missing) == len(packages):
        raise Skipped("; ".join(missing))
    return missing


@dataclass(frozen=True)
class Match:
    """A rival's documented network, and ResUNets with as many parameters and operations as it (within 5 %).

    Args:
        package: of the rival.
        theirs: builds it, for images (1, 32, 32).
        ours: arguments of each ResUNet, by the name of the side.
    """

    package: Callable[[], ModuleType]
    theirs: Callable[[], nn.Module]
    ours: Mapping[str, Mapping[str, Any]]

    def our_networks(self) -> dict[str, Callable[[], nn.Module]]:
        """What builds ours, by the name of the side."""
        return {side: partial(ResUNet, channels=1, image_size=32, **given) for side, given in self.ours.items()}


def documented_unet() -> nn.Module:
    """Unet of the README of denoising-diffusion-pytorch."""
    return denoising_diffusion().Unet(dim=64, dim_mults=(1, 2, 4, 8), channels=1, flash_attn=True)


PATCHED = "ours, 2x2 patches"

MATCHES = {
    "denoising-diffusion-pytorch": Match(
        denoising_diffusion,
        documented_unet,
        {
            "ours": {"widths": (64, 96, 192, 384), "attention_levels": (2,)},
            PATCHED: {"widths": (128, 288, 320), "attention_levels": (1,), "patch_size": 2},
        },
    ),
    "diffusers": Match(
        diffusers,
        DiffusersUNet2D,  # its defaults: UNet2DModel of the unconditional example, at 32x32
        {
            "ours": {"widths": (128, 160, 192, 512), "attention_levels": (2,)},
            PATCHED: {"widths": (288, 320, 352), "attention_levels": (1,), "patch_size": 2},
        },
    ),
}


class AsUnet(nn.Module):
    """Any network, with the attributes that GaussianDiffusion asks of its own."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network, self.channels, self.out_dim, self.self_condition = network, channels, channels, False

    def forward(self, x: Tensor, time: Tensor, x_self_cond: None = None) -> Tensor:
        return self.network(x, time)


def gaussian_diffusion(network: nn.Module, shape: tuple[int, int, int], steps: int | None) -> nn.Module:
    """Its sampler around any network: DDIM, or every timestep where `steps` is None."""
    return denoising_diffusion().GaussianDiffusion(
        AsUnet(network, shape[0]),
        image_size=shape[1:],
        timesteps=1000,
        sampling_timesteps=steps,
        objective="pred_noise",
        beta_schedule="linear",
    )


SCHEDULERS = {
    "ddpm": ("DDPMScheduler", {"variance_type": "fixed_small", "clip_sample": True}),
    "ddim": ("DDIMScheduler", {"clip_sample": True}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
}
"""diffusers' schedulers by our names of the same samplers."""


@torch.inference_mode()
def diffusers_images(unet: nn.Module, sampler: str, x: Tensor, steps: int) -> Tensor:
    """diffusers' documented loop over a scheduler's timesteps, from noise x (B, C, H, W); the result is not clamped."""
    name, settings = SCHEDULERS[sampler]
    scheduler = getattr(diffusers(), name)(num_train_timesteps=1000, beta_schedule="linear", **settings)
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps.to(x.device):
        output = unet(scheduler.scale_model_input(x, t), t).sample
        x = scheduler.step(output, t, x).prev_sample
    return x
