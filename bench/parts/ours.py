"""Our side: what the command line would compose, trained by the project's own trainer, timed from inside."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightdiff import DiffSet
from lightdiff.lightning import DiffusionModel
from lightdiff.tasks.build import build_data, build_model, build_trainer, plain
from parts.settings import ROOT, Settings
from parts.timing import Rounds, Step

ENDLESS = (
    "trainer.max_epochs=100000",  # Laps ends the run
    "trainer.limit_val_batches=0",
    "callbacks=no_samples",
    "callbacks.checkpoints.every_n_epochs=100000",
)
"""Training steps only: no validation, no pictures, no checkpoint at the end of an epoch."""


def composed(settings: Settings, *overrides: str, name: str = "train") -> dict[str, Any]:
    """The plain configuration of a command on this device, at the precision that is its default here.

    Where the default is still 32-true, bf16-mixed is passed if the device has such units.
    """
    fixed = [f"seed={settings.seed}"]
    if name == "train":
        accelerator = "cpu" if settings.device == "cpu" else "gpu"
        fixed.append(f"trainer.accelerator={accelerator}")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = plain(compose(name, [*fixed, *overrides, *(settings.ours if name == "train" else ())]))
    if "data_dir" in config.get("dataset", {}):
        config["dataset"]["data_dir"] = str(settings.data_dir)
    owner = config["trainer"] if name == "train" else config
    asked = any("precision=" in override for override in (*overrides, *settings.ours))
    if owner["precision"] == "32-true" and not asked and settings.fast_dtype is not None:
        owner["precision"] = "bf16-mixed"
    return config


class Laps(Callback):
    """Times a fit's steps, everything included, by turns with other things, and then ends it.

    Args:
        rounds: where the seconds go.
        repeats: number of rounds.
        modes: what to do at the start of this side's laps, by the name of each.
        others: steps of other sides, each called after this side's laps of the same round.
        before: done once within the run, before any lap.
    """

    def __init__(
        self,
        rounds: Rounds,
        repeats: int,
        modes: Mapping[str, Callable[[], None]],
        others: Mapping[str, Step] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.rounds, self.repeats = rounds, repeats
        self.modes, self.others, self.before = modes, dict(others or {}), before

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._script = self._laps(trainer)
        self._batches_left = next(self._script)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches_left -= 1
        if self._batches_left == 0:
            self._batches_left = next(self._script, 0)

    def _laps(self, trainer: Trainer) -> Iterator[int]:
        """Yields after how many batches it wants to go on."""
        rounds = self.rounds
        yield 2  # what is done only once
        self.before()
        for name, enter in self.modes.items():
            enter()
            yield 1  # the loader had a batch of the former mode ready
            start = rounds.now()
            yield 1
            rounds.plan(name, rounds.now() - start)
        for name, step in self.others.items():
            rounds.warm_up(name, step)
        for _ in range(self.repeats):
            for name, enter in self.modes.items():
                enter()
                if len(self.modes) > 1:
                    yield 1
                start = rounds.now()
                yield rounds.steps[name]
                rounds.add(name, rounds.now() - start, rounds.steps[name])
            for name, step in self.others.items():
                rounds.lap(name, step)
        trainer.should_stop = True


class Fit:
    """A training run of ours that has been built and not yet started.

    Args:
        config: plain data, see `composed`.
        folder: for its logs and checkpoints.
    """

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config = config
        self.data: DiffSet = build_data(config)
        self.data.prepare_data()
        self.data.setup()
        self.model: DiffusionModel = build_model(config)
        self.trainer = build_trainer(config, folder)

    def run(self, callback: Callback) -> None:
        """Train until the callback ends it; the progress bar is drawn, and not shown."""
        self.trainer.callbacks.append(callback)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.trainer.fit(self.model, datamodule=self.data)

    def batch(self, size: int | None = None) -> dict[str, Tensor]:
        """The first images, on the device that trains."""
        size = size or self.data.batch_size
        batch = self.data.train_set[range(size)]
        return {name: tensor.to(self.trainer.strategy.root_device) for name, tensor in batch.items()}

    def bare_step(self, batch: dict[str, Tensor]) -> None:
        """Forward, backward and optimizer alone: no loader, EMA, callbacks, logging or Lightning. Only within `run`."""
        optimizer = self.trainer.optimizers[0]
        with self.trainer.precision_plugin.train_step_context():
            loss = self.model.training_step(batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@contextlib.contextmanager
def fit_of(config: dict[str, Any]) -> Iterator[Fit]:
    """A run in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Fit(config, Path(folder))


def timed(
    settings: Settings, config: dict[str, Any], others: Callable[[Fit], Mapping[str, Step]] = lambda fit: {}
) -> tuple[Rounds, Fit]:
    """Seconds a step of the whole training, "ours", by turns with other steps."""
    torch.manual_seed(settings.seed)
    rounds = Rounds(settings.lap_seconds, settings.synchronize)
    with fit_of(config) as fit:
        fit.run(Laps(rounds, settings.repeats, {"ours": lambda: None}, others(fit)))
    return rounds, fit
