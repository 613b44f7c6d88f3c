"""smalldiffusion: its scripts examples/fashion_mnist_unet.py and examples/cifar_unet.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from racing.clock import Snapshots
from racing.entry import Draw, Entry, batches
from racing.protocol import EVALUATIONS
from racing.task import Task

BATCH = 128


@dataclass(frozen=True)
class Recipe:
    """One of its scripts.

    Args:
        network: arguments of its Unet, after the image's.
        training, sampling: names and arguments of its schedules.
        lr: learning rate.
        decay: of the average.
        steps, gam: of its sampler.
    """

    network: dict[str, Any]
    training: tuple[str, dict[str, float]]
    sampling: tuple[str, dict[str, float]]
    lr: float
    decay: float
    steps: int
    gam: float


FASHION = ("ScheduleLogLinear", {"sigma_min": 0.01, "sigma_max": 20, "N": 800})
GRAY = Recipe({"ch": 64, "ch_mult": (1, 1, 2), "attn_resolutions": (14,)}, FASHION, FASHION, 7e-4, 0.999, 20, 1.6)
COLOUR = Recipe(
    {"ch": 128, "ch_mult": (1, 2, 2, 2), "attn_resolutions": (16,)},
    ("ScheduleSigmoid", {"N": 1000}),
    ("ScheduleLogLinear", {"sigma_min": 0.01, "sigma_max": 35, "N": 1000}),
    2e-4,
    0.9999,
    10,
    2.1,
)


class Smalldiffusion(Entry):
    packages = ("smalldiffusion", "accelerate", "torch-ema")
    recipe = (
        "examples/fashion_mnist_unet.py: Scaled(Unet) with 64 channels, AdamW at 7e-4, decay 0.999, 20 steps with gam=1.6; "
        "examples/cifar_unet.py: 128 channels, 2e-4, 0.9999, 10 steps with gam=2.1"
    )
    changed = (
        "mnist takes the recipe of fashion, and neither is mirrored; batches of 128 instead of 1,024 (256 on cifar), which would "
        "be too few steps in minutes of a CPU; bfloat16"
    )
    recipes: ClassVar = {"mnist": GRAY, "fashion": GRAY, "cifar": COLOUR}

    def model(self, task: Task) -> nn.Module:
        """Its network."""
        from smalldiffusion import Scaled, Unet

        return Scaled(Unet)(task.size, task.channels, task.channels, **self.recipes[task.data].network)

    def accelerator(self, task: Task) -> Any:
        """What its functions take device and precision from."""
        from accelerate import Accelerator

        return Accelerator(cpu=task.device == "cpu", mixed_precision="bf16" if task.bfloat16 else "no")

    def train(self, task: Task, snapshots: Snapshots) -> None:
        import smalldiffusion
        from torch_ema import ExponentialMovingAverage

        recipe, model = self.recipes[task.data], self.model(task)
        name, arguments = recipe.training
        average = ExponentialMovingAverage(model.parameters(), decay=recipe.decay)
        average.to(torch.device(task.device))

        def save(path: Path) -> None:
            with average.average_parameters():
                torch.save(model.state_dict(), path)

        for _ in smalldiffusion.training_loop(
            DataLoader(Images(task), batch_size=None),
            model,
            getattr(smalldiffusion, name)(**arguments),
            epochs=1,  # one without end
            lr=recipe.lr,
            accelerator=self.accelerator(task),
        ):
            average.update()
            snapshots.after_step(save)

    def sampler(self, task: Task, file: Path) -> Draw:
        import smalldiffusion

        recipe, model, accelerator = self.recipes[task.data], self.model(task), self.accelerator(task)
        model.load_state_dict(torch.load(file, weights_only=True, map_location=task.device))
        model.to(task.device)
        name, arguments = recipe.sampling
        sigmas = getattr(smalldiffusion, name)(**arguments).sample_sigmas(min(EVALUATIONS, recipe.steps))

        def draw(rows: range) -> Tensor:
            *_, x0 = smalldiffusion.samples(model, sigmas, gam=recipe.gam, batchsize=len(rows), accelerator=accelerator)
            return x0.float()

        return draw


class Images(IterableDataset[Tensor]):
    """Batches of images, without end."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __iter__(self) -> Any:
        images, labels = self.task.load()
        for batch, _ in batches(self.task, images, labels, BATCH, mirror=self.task.data == "cifar"):
            yield batch
