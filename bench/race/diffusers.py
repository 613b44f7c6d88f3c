"""diffusers: the script of its unconditional example."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from racing.clock import Snapshots
from racing.entry import Draw, Entry, batches, padded
from racing.protocol import EVALUATIONS
from racing.task import Task

SIDE = 32
WIDTHS = (128, 128, 256, 256, 512, 512)
WARM_UP = 500 / (100 * 8189 / 16)
"""Share of the warm-up in the documented training: 500 steps of 100 epochs of the 8,189 flowers in batches of 16."""


def rate(share: float) -> float:
    """Factor of the learning rate when this share of the training is over: warm-up, then a cosine."""
    if share < WARM_UP:
        return share / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


class Diffusers(Entry):
    packages = ("diffusers",)
    recipe = (
        "examples/unconditional_image_generation/train_unconditional.py: UNet2DModel with six levels, AdamW at 1e-4 with betas "
        "(0.95, 0.999), batches of 16, gradients clipped at 1, average of the weights"
    )
    changed = (
        "28x28 images are padded to 32x32, and mnist and fashion are not mirrored; bfloat16; the learning rate's warm-up and "
        "cosine follow the share of the minutes that is over; 20 steps of DDIM instead of 1,000 of DDPM"
    )
    widths = WIDTHS

    def network(self, task: Task) -> nn.Module:
        """The script's network: attention at the last level but one."""
        from diffusers import UNet2DModel

        attention = len(self.widths) - 2
        kinds = ["Attn" if level == attention else "" for level in range(len(self.widths))]
        return UNet2DModel(
            sample_size=SIDE,
            in_channels=task.channels,
            out_channels=task.channels,
            layers_per_block=2,
            block_out_channels=self.widths,
            down_block_types=[f"{kind}DownBlock2D" for kind in kinds],
            up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)],
        ).to(task.device)

    def train(self, task: Task, snapshots: Snapshots) -> None:
        from diffusers import DDPMScheduler
        from diffusers.training_utils import EMAModel

        images, labels = task.load()
        network = self.network(task).train()
        average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(snapshots.share))

        def save(path: Path) -> None:
            average.store(network.parameters())
            average.copy_to(network.parameters())
            torch.save(network.state_dict(), path)
            average.restore(network.parameters())

        for x0, _ in batches(task, padded(images, SIDE), labels, 16, mirror=task.data == "cifar"):
            noise = torch.randn_like(x0)
            t = torch.randint(0, 1000, (len(x0),), device=x0.device)
            with torch.autocast(task.device, task.dtype, enabled=task.dtype is not None):
                output = network(noising.add_noise(x0, noise, t), t, return_dict=False)[0]
            F.mse_loss(output.float(), noise).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rates.step()
            optimizer.zero_grad()
            average.step(network.parameters())
            snapshots.after_step(save)

    def sampler(self, task: Task, file: Path) -> Draw:
        from diffusers import DDIMScheduler

        network: Any = self.network(task).eval()
        network.load_state_dict(torch.load(file, weights_only=True, map_location=task.device))
        scheduler = DDIMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=True)
        scheduler.set_timesteps(EVALUATIONS)

        def draw(rows: range) -> Tensor:
            x = torch.randn(len(rows), task.channels, SIDE, SIDE, device=task.device)
            for t in scheduler.timesteps.to(x.device):
                x = scheduler.step(network(x, t).sample.float(), t, x).prev_sample
            return x

        return draw
