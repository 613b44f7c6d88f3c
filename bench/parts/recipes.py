"""The packages' documented ways to train on MNIST, each a process of its own started by part f (parts/quality.py).

Both get the digits padded to 32x32 and unmirrored, bfloat16 where the device has it, batches of 32, snapshots that cost no time.

- denoising-diffusion-pytorch, its README: Unet(dim=64, dim_mults=(1, 2, 4, 8)), GaussianDiffusion with its defaults, its Trainer
  reading image files, Adam at 8e-5, two batches a step, average with decay 0.995. Its own samples and FID while training are off.
- diffusers, its unconditional example: UNet2DModel (128, 128, 256, 512) with attention at one level, DDPMScheduler, AdamW at
  1e-4, gradient clipping at 1.0, warm-up and cosine decay. As the number of steps is not known beforehand, the rate follows the
  share of the time that is over; the warm-up has the share that 500 steps are of five epochs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightdiff import DiffSet
from lightdiff.networks import DiffusersUNet2D
from parts.rivals import denoising_diffusion, diffusers, documented_unet
from parts.settings import Settings
from parts.snapshots import Snapshots, TimeIsUp

BATCH, SIDE = 32, 32
WARM_UP = 500 / (5 * 60_000 / BATCH)


def padded_digits(data_dir: Path) -> Tensor:
    """Training images of MNIST, uint8 (N, 1, 32, 32)."""
    data = DiffSet("mnist", data_dir=str(data_dir), image_size=SIDE, resize_mode="pad")
    data.prepare_data()
    data.setup()
    return data.train_set.in_memory().images


def write_images(folder: Path, data_dir: Path) -> None:
    """The digits as PNG files, for the trainer that reads a folder; no part of any measured time."""
    from PIL import Image

    if (folder / ".complete").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(padded_digits(data_dir)):
        Image.fromarray(image[0].numpy()).save(folder / f"{k:05d}.png")
    (folder / ".complete").touch()


def denoising_diffusion_model(steps: int | None = None, eta: float = 0.0) -> nn.Module:
    """Its model around its network; `steps` of its sampler, and the `eta` of ddim."""
    package = denoising_diffusion()
    return package.GaussianDiffusion(
        documented_unet(), image_size=SIDE, timesteps=1000, sampling_timesteps=steps, ddim_sampling_eta=eta
    )


def train_denoising_diffusion(snapshots: Snapshots, settings: Settings) -> None:
    trainer = denoising_diffusion().Trainer(
        denoising_diffusion_model(),
        str(settings.work / "digits"),
        train_batch_size=BATCH,
        gradient_accumulate_every=2,
        train_lr=8e-5,
        train_num_steps=10**9,
        ema_decay=0.995,
        amp=settings.fast_dtype is not None,
        mixed_precision_type="bf16",
        augment_horizontal_flip=False,
        calculate_fid=False,
        save_and_sample_every=10**9,
        results_folder=str(settings.work / "denoising-diffusion-pytorch"),
    )
    averaging = trainer.ema.update

    def update() -> None:  # its trainer calls it once a step
        averaging()
        snapshots.after_step(trainer.ema.ema_model.state_dict)

    trainer.ema.update = update
    trainer.train()


def batches(images: Tensor, seed: int) -> Iterator[Tensor]:
    """Shuffled epochs of images in [-1, 1]."""
    random = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(images), generator=random).split(BATCH):
            yield images[rows].float() / 127.5 - 1


def rate(share: float) -> float:
    """Factor of the learning rate when this share of the time is over."""
    if share < WARM_UP:
        return share / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def train_diffusers(snapshots: Snapshots, settings: Settings) -> None:
    network = DiffusersUNet2D().to(settings.device).train()
    scheduler = diffusers().DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(snapshots.share))
    dtype = settings.fast_dtype
    for images in batches(padded_digits(settings.data_dir), settings.seed):
        x0 = images.to(settings.device)
        noise = torch.randn_like(x0)
        t = torch.randint(0, 1000, (len(x0),), device=x0.device)
        with torch.autocast(x0.device.type, dtype, enabled=dtype is not None):
            output = network.unet(scheduler.add_noise(x0, noise, t), t, return_dict=False)[0]
        F.mse_loss(output.float(), noise).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        snapshots.after_step(network.state_dict)


RECIPES = {"denoising-diffusion-pytorch": train_denoising_diffusion, "diffusers": train_diffusers}


def main() -> None:
    began = time.time()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--count", type=int, required=True, help="snapshots")
    parser.add_argument("--start", type=float, default=began, help="time.time() when the command was started")
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    torch.manual_seed(told.seed)
    settings = Settings(
        device=told.device, threads=told.threads, seed=told.seed, data_dir=told.data_dir, work=told.work
    )
    snapshots = Snapshots(told.work / told.name / "snapshots", told.seconds, told.count, told.start)
    try:
        RECIPES[told.name](snapshots, settings)
    except TimeIsUp:
        print(f"{told.name}: {snapshots.elapsed():.0f} s of training", flush=True)


if __name__ == "__main__":
    main()
