"""The machine and its packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from typing import Any

import torch

import lightdiff
from gpu_parts.task import Task
from parts.results import Row

PACKAGES = (
    *("torch", "torchvision", "triton", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "tensorboard"),
    *("numpy", "scikit-learn", "scipy", "safetensors", "diffusers", "denoising-diffusion-pytorch"),
)
"""Packages whose versions are noted, where they are installed."""


def measure(task: Task) -> None:
    """Note memory, cores, driver, switches of torch and versions."""
    cuda = task.settings.device.startswith("cuda")
    sizes: dict[str, tuple[str, float]] = {"CPU cores": ("", os.cpu_count() or 1)}
    if cuda:
        found = torch.cuda.get_device_properties(0)
        sizes |= {
            "memory of the GPU": ("GiB", found.total_memory / 2**30),
            "multiprocessors": ("", found.multi_processor_count),
            "compute capability": ("", float(f"{found.major}.{found.minor}")),
        }
    facts = {
        "lightdiff": lightdiff.__version__,
        "system": platform.platform(),
        "driver": driver() if cuda else None,
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
        "TF32 in products, in convolutions": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
        "packages": versions(),
    }
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    task.write([Row(what, unit, {"here": value}, details=facts) for what, (unit, value) in sizes.items()])


def driver() -> str | None:
    """Return the version of the GPU's driver, or None where it cannot be asked."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    line = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.split("\n")[0].strip() or None


def versions() -> dict[str, Any]:
    """Return the versions of `PACKAGES`, None where one is not installed."""
    found: dict[str, Any] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
