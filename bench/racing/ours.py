"""Our side of the race: `python train.py experiment=..._fast`, whole, in the contender's process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pytorch_lightning import Callback, LightningModule, Trainer

from racing.clock import Snapshots, TimeIsUp
from racing.entry import Draw, Entry
from racing.protocol import EVALUATIONS, ROOT, SIZES
from racing.task import Task

_snapshots: Snapshots | None = None


class PutAside(Callback):
    """Puts checkpoints aside at the marks, and ends the training at the last one.

    Args:
        snapshots: the clock.
    """

    def __init__(self, snapshots: Snapshots) -> None:
        self.snapshots = snapshots

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.should_stop:
            try:
                self.snapshots.after_step(trainer.save_checkpoint)
            except TimeIsUp:
                trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.snapshots.after_training(trainer.save_checkpoint)


def current() -> Callback:
    """Return the callback that the command line adds to the configuration, which can only name it."""
    assert _snapshots is not None
    return PutAside(_snapshots)


class Ours(Entry):
    """A recipe of this project, as the command line runs it: validation, pictures and checkpoints while training count.

    Attributes:
        overrides: of the recipe, as they are typed.
    """

    packages = ("pytorch-lightning", "torchmetrics")
    recipe = "conf/experiment/mnist_fast.yaml, fashion_fast.yaml, cifar_fast.yaml"
    data = tuple(name for name in SIZES if (ROOT / "conf" / "experiment" / f"{name}_fast.yaml").is_file())
    overrides: ClassVar[Sequence[str]] = ()

    def train(self, task: Task, snapshots: Snapshots) -> None:
        from lightdiff.commands.cli import run_command

        global _snapshots
        _snapshots = snapshots
        line = [
            f"experiment={task.data}_fast",
            f"seed={task.seed}",
            f"log_dir={task.folder}/runs",
            f"dataset.data_dir={task.data_dir}",
            f"trainer.accelerator={'cpu' if task.device == 'cpu' else 'gpu'}",
            f"+callbacks.race._target_={__name__}.current",
            *self.overrides,
        ]
        print("python train.py", *line, flush=True)
        code = run_command("train", line)
        if code:
            sys.exit(code)

    def sampler(self, task: Task, file: Path) -> Draw:
        import yaml

        from lightdiff.config.build import build_guidance, build_sampler
        from lightdiff.model import Generation, load_model

        (config_file,) = Path(task.folder, "runs").glob("*/version_*/config.yaml")
        config = yaml.safe_load(config_file.read_text())
        sampler, steps = build_sampler(config)
        model = load_model(file, map_location=task.device)
        generation = Generation.of(
            model,
            sampler=sampler,
            num_steps=min(EVALUATIONS, steps or EVALUATIONS),
            guidance=build_guidance(config),
            seed=task.seed,
            precision="bf16-mixed" if task.dtype else "32-true",
        )
        return lambda rows: generation.images(model, rows, batch_size=len(rows))
