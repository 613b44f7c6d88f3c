"""denoising-diffusion-pytorch: the network, diffusion and trainer of its README."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from racing.clock import Snapshots
from racing.entry import Draw, Entry, padded
from racing.protocol import EVALUATIONS
from racing.task import Task

SIDE = 32


def package() -> Any:
    """The package, without its progress bars."""
    import denoising_diffusion_pytorch
    from tqdm.auto import tqdm

    denoising_diffusion_pytorch.denoising_diffusion_pytorch.tqdm = partial(tqdm, disable=True)
    return denoising_diffusion_pytorch


class DenoisingDiffusionPytorch(Entry):
    packages = ("denoising-diffusion-pytorch", "accelerate")
    recipe = "its README: Unet(dim=64, dim_mults=(1, 2, 4, 8)), Trainer with Adam at 8e-5, two batches of 32 a step, decay 0.995"
    changed = (
        "28x28 images are padded to 32x32, and mnist and fashion are not mirrored; bfloat16 for float16; its own samples and FID "
        "while training are off; 20 steps of DDIM instead of 250"
    )
    network: ClassVar[dict[str, Any]] = {"dim": 64, "dim_mults": (1, 2, 4, 8), "flash_attn": True}

    def folder(self, task: Task) -> Path:
        """Images as files, which its trainer reads."""
        return Path(task.prepared, f"{task.data}_{SIDE}")

    def prepare(self, task: Task) -> None:
        from PIL import Image

        folder = self.folder(task)
        if (folder / ".complete").is_file():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(padded(task.load()[0], SIDE)):
            pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
            Image.fromarray(pixels.numpy()).save(folder / f"{number:05d}.png")
        (folder / ".complete").touch()

    def model(self, task: Task, steps: int | None = None) -> nn.Module:
        """Its diffusion around its network, which draws with so many steps."""
        unet = package().Unet(**self.network, channels=task.channels)
        return package().GaussianDiffusion(unet, image_size=SIDE, timesteps=1000, sampling_timesteps=steps)

    def train(self, task: Task, snapshots: Snapshots) -> None:
        trainer = package().Trainer(
            self.model(task),
            str(self.folder(task)),
            train_batch_size=32,
            gradient_accumulate_every=2,
            train_lr=8e-5,
            train_num_steps=10**9,
            ema_decay=0.995,
            amp=task.dtype is not None,
            mixed_precision_type="bf16",
            augment_horizontal_flip=task.data == "cifar",
            calculate_fid=False,
            save_and_sample_every=10**9,
            results_folder=str(Path(task.folder, "results")),
        )
        average = trainer.ema.update

        def update() -> None:  # its trainer calls it once a step
            average()
            snapshots.after_step(lambda path: torch.save(trainer.ema.ema_model.state_dict(), path))

        trainer.ema.update = update
        trainer.train()

    def sampler(self, task: Task, file: Path) -> Draw:
        model = self.model(task, EVALUATIONS).to(task.device).eval()
        model.load_state_dict(torch.load(file, weights_only=True, map_location=task.device))

        def draw(rows: range) -> Tensor:
            return model.sample(batch_size=len(rows)).float() * 2 - 1

        return draw
