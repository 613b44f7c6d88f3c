"""experiment=cifar_gpu in the time that is left, with the curve of its classifier distance against seconds of training."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from gpu_parts.gallery import draw, save_grid, save_small
from gpu_parts.recipes import RECIPES
from gpu_parts.speed import fastest, steps_within
from gpu_parts.task import Task
from lightdiff.model import DiffusionModel
from parts.measure import FeatureDistance
from parts.ours import run
from parts.results import Row
from parts.settings import Skipped

START, COMPILING, POINT, LAST = 15.0, 20.0, 4.0, 20.0
"""Seconds that are kept for the start of the job, for compiling, for each point of the curve, and for the samplers at the end."""
SLACK = 0.95
"""Share of the seconds of training that the steps are planned for, so that the learning rate comes to its end in time."""
LEAST = 20.0
"""Seconds of training without which the part is left out."""
DRY_STEPS = 4
"""Optimizer steps of a dry run."""


class Curve(Callback):
    """Measures the averaged weights at some steps, with a clock that stands still meanwhile, and at the end with every sampler.

    Args:
        task: the part.
        config: the configuration that is trained.
        facts: how it is trained.
    """

    def __init__(self, task: Task, config: dict[str, Any], facts: dict[str, Any]) -> None:
        self.task, self.facts = task, facts
        data = config["dataset"]
        self.batch = data["batch_size"]
        self.distance = FeatureDistance(task.settings, data["image_size"], data["resize_mode"], data["name"])
        self.curve: list[tuple[float, int, float]] = []
        self.ends: dict[str, float] = {}
        # seconds that a point has taken at most
        self.slowest = POINT

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps, points = trainer.max_steps, self.task.sizes.points
        self.marks = {max(1, steps * (point + 1) // points) for point in range(points)}
        self.seconds = 0.0
        self.task.settings.synchronize()
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step in self.marks:
            self._measure(trainer, step)
        elif self.task.left() < self.slowest + 5 and not self.task.sizes.dry:
            self._measure(trainer, step)
            trainer.should_stop = True

    def _measure(self, trainer: Trainer, step: int) -> None:
        """Add a point to the curve, and draw the picture anew."""
        self.task.settings.synchronize()
        start = time.perf_counter()
        self.seconds += start - self._since
        sizes = self.task.sizes
        images, distance = self._judge(trainer, sizes.sampling[0], sizes.samples)
        self.curve.append((self.seconds, step * self.batch, distance))
        self.write()
        save_grid(self.task.out / "cifar_gpu.png", images[:100])
        self._since = time.perf_counter()
        self.slowest = max(self.slowest if len(self.curve) > 1 else 0, self._since - start)

    def _judge(self, trainer: Trainer, sampling: tuple[str, int], samples: int) -> tuple[Any, float]:
        """Draw images of every class in turn and return them with their distance."""
        model = trainer.lightning_module
        assert isinstance(model, DiffusionModel)
        images = draw(model, sampling, range(samples), str(trainer.precision), self.task.settings.seed)
        return images, self.distance(images)

    def write(self, **facts: Any) -> None:
        """Write down what is known."""
        seconds, images, distance = self.curve[-1]
        sizes = self.task.sizes
        sampler, steps = sizes.sampling[0]
        details = {**self.facts, **facts, "curve: seconds, images, distance": self.curve}
        rows = [
            Row("training", "s", {"ours": seconds}),
            Row("images trained on", "million", {"ours": images / 1e6}),
            Row("training", "images/s", {"ours": images / seconds}),
            Row(
                f"distance, {sizes.samples} images, {sampler}, {steps} steps",
                "FID",
                {"ours": distance},
                None,
                "",
                details,
            ),
        ]
        rows += [
            Row(f"at the end: distance, {sizes.final_samples} images, {name}", "FID", {"ours": found})
            for name, found in self.ends.items()
        ]
        self.task.write(rows)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = "the whole recipe" if trainer.global_step == trainer.max_steps else "stopped before its end"
        facts = {"training was": done, "weights": save_small(trainer, self.task.out / "cifar_gpu")}
        self.write(**facts)
        sizes = self.task.sizes
        needed = self.slowest * sizes.final_samples / sizes.samples
        for sampler, steps in sizes.sampling:
            name = f"{sampler}, {steps} steps"
            if self.task.left() < needed and not sizes.dry:
                facts[name] = f"left out: {self.task.left():.0f} s are left, and it may take {needed:.0f} s"
            else:
                _, self.ends[name] = self._judge(trainer, (sampler, steps), sizes.final_samples)
            self.write(**facts)


def measure(task: Task) -> None:
    """Train as many steps as fit into the time, with a learning rate that ends with them."""
    recipe, sizes = RECIPES["cifar_gpu"], task.sizes
    way, rate = fastest(task, "cifar_gpu")
    config = recipe.composed(task, *way.overrides, "callbacks=no_samples")
    batch = config["dataset"]["batch_size"]
    reserve = START + COMPILING * way.compiled + POINT * sizes.points + LAST
    seconds = task.left() - reserve
    steps = DRY_STEPS if sizes.dry else steps_within(SLACK * seconds, rate, batch)
    if seconds < LEAST and not sizes.dry:
        raise Skipped(f"{task.left():.0f} s are left, of which {reserve:.0f} s are needed besides training")
    ending = (
        *(f"trainer.max_steps={steps}", "trainer.max_epochs=100000", "trainer.limit_val_batches=0"),
        "callbacks.checkpoints.every_n_epochs=100000",
    )
    config = recipe.composed(task, *way.overrides, "callbacks=no_samples", *ending)
    facts = {"way": str(way), "images/s as measured before": rate, "steps planned": steps, "batch": batch}
    run(config, Curve(task, config, facts))
