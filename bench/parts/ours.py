"""Our side: the job that train.py would run, timed from inside by a callback."""

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
from lightdiff.config.build import plain
from lightdiff.jobs.train import run_job
from lightdiff.model import DiffusionModel
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


class Fit:
    """A job of ours that runs.

    Args:
        trainer: Lightning's.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.model: DiffusionModel = trainer.lightning_module
        self.data: DiffSet = trainer.datamodule

    def batch(self) -> dict[str, Tensor]:
        """The first images, on the device that trains."""
        batch = self.data.train_set[range(self.data.batch_size)]
        return {name: tensor.to(self.trainer.strategy.root_device) for name, tensor in batch.items()}

    def bare_step(self, batch: dict[str, Tensor]) -> None:
        """Forward, backward and optimizer alone: no loader, EMA, callbacks, logging or Lightning."""
        optimizer = self.trainer.optimizers[0]
        with self.trainer.precision_plugin.train_step_context():
            loss = self.model.training_step(batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


Sides = Callable[[Fit], Mapping[str, Step]]


class Laps(Callback):
    """Times a job's steps, everything included, by turns with other things, and then ends it.

    Args:
        rounds: where the seconds go.
        repeats: number of rounds.
        modes: what to do at the start of this side's laps, by the name of each.
        others: steps of other sides, each called after this side's laps of the same round.
        prepare: done before the job asks for its loader.
        before: done once while it runs, before any lap.
    """

    fit: Fit

    def __init__(
        self,
        rounds: Rounds,
        repeats: int,
        *,
        modes: Mapping[str, Callable[[], None]] | None = None,
        others: Sides = lambda fit: {},
        prepare: Callable[[Fit], None] = lambda fit: None,
        before: Callable[[Fit], None] = lambda fit: None,
    ) -> None:
        self.rounds, self.repeats = rounds, repeats
        self.modes = dict(modes or {"ours": lambda: None})
        self.others, self.prepare, self.before = others, prepare, before

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.fit = Fit(trainer)
        self.prepare(self.fit)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._script = self._laps()
        self._batches_left = next(self._script)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches_left -= 1
        if self._batches_left == 0:
            self._batches_left = next(self._script, 0)

    def _laps(self) -> Iterator[int]:
        """Yields after how many batches it wants to go on."""
        rounds = self.rounds
        yield 2  # what is done only once
        self.before(self.fit)
        for name, enter in self.modes.items():
            enter()
            yield 1  # the loader had a batch of the former mode ready
            start = rounds.now()
            yield 1
            rounds.plan(name, rounds.now() - start)
        others = self.others(self.fit)
        for name, step in others.items():
            rounds.warm_up(name, step)
        for _ in range(self.repeats):
            for name, enter in self.modes.items():
                enter()
                if len(self.modes) > 1:
                    yield 1
                start = rounds.now()
                yield rounds.steps[name]
                rounds.add(name, rounds.now() - start, rounds.steps[name])
            for name, step in others.items():
                rounds.lap(name, step)
        self.fit.trainer.should_stop = True


_callback: Callback | None = None


def current_callback() -> Callback:
    """What `run` adds to a configuration, which can only name it."""
    assert _callback is not None
    return _callback


def run(config: dict[str, Any], callback: Callback) -> None:
    """The job of a configuration, with a callback that ends it, in a folder that is removed; its progress bar is not shown."""
    global _callback
    _callback = callback
    named = {**config["callbacks"], "bench": {"_target_": f"{__name__}.current_callback"}}
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        run_job(Path(folder), {**config, "callbacks": named})


def timed(settings: Settings, config: dict[str, Any], **laps: Any) -> tuple[Rounds, Fit]:
    """Seconds a step of the whole training, "ours", by turns with other steps; `laps` as for `Laps`."""
    torch.manual_seed(settings.seed)
    callback = Laps(Rounds(settings.lap_seconds, settings.synchronize), settings.repeats, **laps)
    run(config, callback)
    return callback.rounds, callback.fit
