"""Three tutorials trained twice, by a plain PyTorch loop and by train.py, and compared on the same held-out images.

The plain loop follows the tutorial: its schedule, computed its way, its loss, optimizer, learning rate, flips and clipping, with
neither Lightning nor an average of the weights. The other side is `python train.py experiment=<name>`. Both get the same network
class with the same widths and first weights, the same pixels, batch size and number of images; order, times and noise of the
training are drawn by each in its own way. Widths are far below the tutorials', so that a CPU core will do.

- Loss: the tutorial's distance between noise and prediction, on held-out images, timesteps and noise that are fixed and the same
  for all networks, which are in eval mode. The difference (ours minus plain) comes with the standard error over images alone:
  what another seed of the training would change is not in it.
- Speed: images a second of the training alone, by the clock, one thread, in the order plain, ours, plain (half of the plain
  steps each), so that a drifting load hits both. Images a CPU second, which other work on the machine disturbs less: of ours, the
  process less one that takes a single step, which has the same start and end.

    python bench/tutorials.py cars --images 40000 --out cars.json    # and cars.png, 64 samples by sample.py
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from lightdiff import DiffSet, load_model
from lightdiff.core.randomness import keyed_seed
from lightdiff.networks import DiffusersUNet2D, SimpleUNet, UNet

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Tutorial:
    """What a tutorial says of its training, with narrower widths; the network's other arguments are the defaults."""

    network: type[nn.Module]
    widths: tuple[int, ...]
    dataset: dict[str, Any]  # arguments of DiffSet
    below: str  # where its files are in the data folder
    T: int  # timesteps
    batch_size: int
    optimizer: Callable[[Any], Optimizer]
    distance: Callable[..., Tensor] = F.mse_loss
    warmup: float = 0.0  # share of the steps in which the learning rate grows before its cosine decay; 0: constant rate
    clip: float | None = None  # largest gradient norm
    flips: bool = False  # mirror every second image at random
    drop_last: bool = False  # leave out the last batch of an epoch where it is not full
    product_each: bool = False  # the product of 1 - beta anew for each image of each batch, in place of a table
    overrides: tuple[str, ...] = ()  # what train.py is told besides

    def build(self, seed: int) -> nn.Module:
        """The untrained network, with the weights that train.py begins with."""
        torch.manual_seed(keyed_seed("init", seed))
        shape = {key: self.dataset[key] for key in ("channels", "image_size")}
        return self.network(widths=self.widths, **shape)

    def read(self, folder: Path) -> tuple[Tensor, Tensor]:
        """Images to train on and held-out images, uint8 (N, C, H, W)."""
        data = DiffSet(data_dir=str(folder / self.below), **self.dataset)
        data.setup()
        return data.train_set.in_memory().images, data.val_set.in_memory().images


DIGITS = {"name": "mnist", "channels": 1, "image_size": 32}
CARS = {"name": "folder", "channels": 3, "image_size": 64, "resize_mode": "resize"}
TUTORIALS = {
    "ddpm_unet": Tutorial(
        *(UNet, (16, 32, 64, 64), {**DIGITS, "resize_mode": "pad"}, ".", 1000, 128),
        lambda parameters: Adam(parameters, lr=2e-4),
        product_each=True,
    ),
    "diffusing_digits": Tutorial(
        *(DiffusersUNet2D, (16, 16, 32, 64), {**DIGITS, "resize_mode": "resize"}, ".", 200, 32),
        lambda parameters: AdamW(parameters, lr=1e-4),
        warmup=500 / 9375,  # of the steps of its five epochs
        clip=1.0,
    ),
    "cars": Tutorial(
        *(SimpleUNet, (8, 16, 32, 64, 128), CARS, "cars", 300, 128),
        lambda parameters: Adam(parameters, lr=1e-3),
        distance=F.l1_loss,
        flips=True,
        drop_last=True,
        overrides=("dataset=folder",),
    ),
}


def to_range(images: Tensor) -> Tensor:
    """uint8 to [-1, 1]."""
    return images.float() / 255 * 2 - 1


class PlainTraining:
    """The tutorial's loop; `run` may be called several times, and goes on where it was."""

    def __init__(self, tutorial: Tutorial, images: Tensor, total_steps: int, seed: int) -> None:
        self.tutorial, self.images = tutorial, images
        self.random = torch.Generator().manual_seed(seed)
        self.network = tutorial.build(seed).train()
        self.optimizer = tutorial.optimizer(self.network.parameters())
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: self._rate(step, total_steps))
        self.alphas = 1 - torch.linspace(1e-4, 0.02, tutorial.T)
        self.table = self.alphas.cumprod(0)
        self.batches = self._batches()
        self.seen, self.seconds, self.cpu_seconds = 0, 0.0, 0.0

    def _rate(self, step: int, total: int) -> float:
        """Factor of the learning rate; with a warm-up the first step has none."""
        if not self.tutorial.warmup:
            return 1.0
        warmup = round(self.tutorial.warmup * total)
        if step < warmup:
            return step / max(1, warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

    def _batches(self) -> Iterator[Tensor]:
        size = self.tutorial.batch_size
        while True:
            for rows in torch.randperm(len(self.images), generator=self.random).split(size):
                if len(rows) == size or not self.tutorial.drop_last:
                    yield rows

    def _remaining(self, t: Tensor) -> Tensor:
        """Share of the image's variance that is left at timesteps t (B,)."""
        if self.tutorial.product_each:
            return torch.stack([self.alphas[: int(k) + 1].prod() for k in t])
        return self.table[t]

    def run(self, steps: int) -> None:
        clock, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            x0 = to_range(self.images[next(self.batches)])
            if self.tutorial.flips:
                mirrored = torch.rand(len(x0), generator=self.random) < 0.5
                x0[mirrored] = x0[mirrored].flip(-1)
            t = torch.randint(0, self.tutorial.T, (len(x0),), generator=self.random)
            noise = torch.randn(x0.shape, generator=self.random)
            remaining = self._remaining(t)[:, None, None, None]
            output = self.network(remaining.sqrt() * x0 + (1 - remaining).sqrt() * noise, t)
            loss = self.tutorial.distance(output, noise)
            self.optimizer.zero_grad()
            loss.backward()
            if self.tutorial.clip is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.tutorial.clip)
            self.optimizer.step()
            self.rates.step()
            self.seen += len(x0)
        self.seconds += time.perf_counter() - clock
        self.cpu_seconds += time.process_time() - cpu


@torch.no_grad()
def held_out_losses(network: nn.Module, tutorial: Tutorial, images: Tensor, draws: int) -> Tensor:
    """Losses (draws,) in float64: image k modulo their number, at a timestep and with noise that depend on k alone."""
    network.eval()
    random = torch.Generator().manual_seed(20261121)
    remaining = (1 - torch.linspace(1e-4, 0.02, tutorial.T, dtype=torch.float64)).cumprod(0)
    losses = []
    for rows in torch.arange(draws).split(128):
        x0 = to_range(images[rows % len(images)])
        t = torch.randint(0, tutorial.T, (len(x0),), generator=random)
        noise = torch.randn(x0.shape, generator=random)
        left = remaining[t][:, None, None, None]
        output = network((left.sqrt() * x0 + (1 - left).sqrt() * noise).float(), t)
        losses.append(tutorial.distance(output, noise, reduction="none").double().flatten(1).mean(1))
    return torch.cat(losses)


def command(arguments: list[str]) -> float:
    """Run a script of the repository with one thread; returns its CPU seconds."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train_ours(overrides: list[str], folder: Path, steps: int) -> tuple[Path, float]:
    """Run train.py for that many steps; returns its run folder and its CPU seconds."""
    cpu = command(["train.py", *overrides, f"trainer.max_steps={steps}", f"log_dir={folder}"])
    runs = folder.glob("*/version_*")
    return max(runs, key=lambda run: int(run.name.removeprefix("version_"))), cpu


def images_per_second(run: Path) -> float:
    """Mean over the points of the run's curve, which stand for about equally many images (those of an epoch's end for fewer)."""
    with (run / "metrics.csv").open() as file:
        points = [
            float(row["train/images_per_second"]) for row in csv.DictReader(file) if row["train/images_per_second"]
        ]
    return len(points) / sum(1 / point for point in points)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, one thread used"


def compare(name: str, images: int, draws: int, seed: int, data_dir: Path, out: Path) -> dict[str, Any]:
    """Train both sides, measure them, draw the samples (beside `out`)."""
    tutorial = TUTORIALS[name]
    train_images, val_images = tutorial.read(data_dir)
    steps, per_epoch = images // tutorial.batch_size, len(train_images) // tutorial.batch_size
    overrides = [
        f"experiment={name}",
        f"model.widths={list(tutorial.widths)}".replace(" ", ""),
        f"dataset.data_dir={(data_dir / tutorial.below).resolve()}",
        f"seed={seed}",
        *tutorial.overrides,
        *([f"lr_scheduler.warmup_steps={round(tutorial.warmup * steps)}"] if tutorial.warmup else []),
        *(f"callbacks.{picture}=null" for picture in ("samples", "data", "schedule_plot", "loss_plot")),
        "logger=csv",
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",  # as the plain loop
        "trainer.max_epochs=-1",
        "trainer.limit_val_batches=0",
        f"trainer.log_every_n_steps={max(1, min(25, per_epoch, steps // 4))}",
        "trainer.enable_progress_bar=false",
    ]
    folder = out.with_suffix("").resolve()
    plain = PlainTraining(tutorial, train_images, steps, seed)
    parameters = sum(p.numel() for p in plain.network.parameters())
    plain.run(steps // 2)
    print(f"plain, first half: {plain.seen / plain.seconds:.1f} images/s", flush=True)
    run, cpu = train_ours(overrides, folder / "ours", steps)
    _, cpu_one_step = train_ours(overrides, folder / "one_step", 1)
    plain.run(steps - steps // 2)
    ours, ours_ema = (load_model(run, weights=weights).network for weights in ("raw", "ema"))
    networks = {"plain": plain.network, "ours": ours, "ours_ema": ours_ema}
    losses = {key: held_out_losses(network, tutorial, val_images, draws) for key, network in networks.items()}
    difference = losses["ours"] - losses["plain"]
    settings = ["num_samples=64", "save=[grid]", f"out={folder / 'samples'}", "overwrite=true", "progress=false"]
    command(["sample.py", f"ckpt_path={run}", *settings])
    (folder / "samples" / "grid.png").replace(out.with_suffix(".png"))
    return {
        "name": name,
        "date": datetime.date.today().isoformat(),
        "seed": seed,
        "torch": torch.__version__,
        "machine": processor(),
        "network": tutorial.network.__name__,
        "widths": tutorial.widths,
        "parameters": parameters,
        "batch_size": tutorial.batch_size,
        "steps": steps,
        "images_seen": {"plain": plain.seen, "ours": steps * tutorial.batch_size},
        "training_images": len(train_images),
        "held_out_images": len(val_images),
        "held_out_draws": draws,
        "distance": tutorial.distance.__name__,
        "validation_loss": {key: values.mean().item() for key, values in losses.items()},
        "ours_minus_plain": difference.mean().item(),
        "standard_error_over_images": (difference.std() / math.sqrt(draws)).item(),
        "images_per_second": {"plain": plain.seen / plain.seconds, "ours": images_per_second(run)},
        "images_per_cpu_second": {
            "plain": plain.seen / plain.cpu_seconds,
            "ours": (steps - 1) * tutorial.batch_size / (cpu - cpu_one_step),
        },
        "timing": "plain (half), ours, plain (half), one after the other",
        "overrides": [text for text in overrides if not text.startswith("dataset.data_dir=")],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=TUTORIALS)
    parser.add_argument("--images", type=int, default=40_000, help="training images each side sees")
    parser.add_argument("--draws", type=int, default=2048, help="held-out images, timesteps and noises of the loss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file; the samples and the run lie beside it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    result = compare(args.name, args.images, args.draws, args.seed, args.data_dir, args.out)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
