"""Plots beside the run and in TensorBoard: the noise schedule at the start, the loss curve as it grows."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import run_folder, tensorboards
from lightdiff.callbacks.curves import Curves
from lightdiff.lightning import DiffusionModel
from lightdiff.utils.plots import new_figure, pixels, save_figure


class PlotSchedule(Callback):
    """`plots/schedule.png`: alpha(t) and sigma(t), log-SNR(t), and how often each log-SNR is trained on."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "plots"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0 or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DiffusionModel)
        schedule, time_sampler = pl_module.schedule, pl_module.objective.time_sampler
        t = torch.linspace(0, 1, 501, dtype=torch.float64)
        trained = time_sampler(20_000, schedule=schedule, generator=torch.Generator().manual_seed(0))
        figure, (scales, log_snr, often) = new_figure(panels=3)
        scales.plot(t, schedule.alpha(t), label="alpha: share of the image")
        scales.plot(t, schedule.sigma(t), label="sigma: share of the noise")
        if schedule.sigma(t).max() > 10:
            scales.set_yscale("symlog")
        scales.legend()
        log_snr.plot(t, schedule.log_snr(t))
        often.hist(schedule.log_snr(trained), bins=100, density=True)
        for axes, x, y in ((scales, "t", ""), (log_snr, "t", "log-SNR"), (often, "log-SNR", "density in training")):
            axes.set(xlabel=x, ylabel=y)
        save_figure(self.folder / "schedule.png", figure)
        for logger in tensorboards(trainer):
            logger.experiment.add_image("plots/schedule", pixels(figure), 0)


class PlotLoss(Callback):
    """`plots/loss.png`, anew after each epoch: training and validation loss against optimizer steps.

    Training points are those of `Curves`. The curve is part of the checkpoint, so that a resumed run goes on with it.
    """

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, float]]] = {"training": [], "validation": []}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "plots"
        self.curves = next((callback for callback in trainer.callbacks if isinstance(callback, Curves)), None)  # type: ignore[attr-defined]

    def _add(self, name: str, step: int, loss: float) -> None:
        points = self.points[name]
        if not points or points[-1][0] < step:
            points.append((step, loss))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.curves is not None and self.curves.logged_step == trainer.global_step > 0:
            self._add("training", trainer.global_step, self.curves.last_loss)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if "val/loss" in trainer.callback_metrics:
            self._add("validation", trainer.global_step, trainer.callback_metrics["val/loss"].item())
        if not trainer.is_global_zero or not any(self.points.values()):
            return
        figure, (axes,) = new_figure()
        for name, points in self.points.items():
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 20 else None)
        axes.set(xlabel="optimizer step", ylabel="loss", yscale="log")
        axes.legend()
        save_figure(self.folder / "loss.png", figure)
        for logger in tensorboards(trainer):
            logger.experiment.add_image("plots/loss", pixels(figure), trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {name: [list(point) for point in points] for name, points in self.points.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.points = {name: [(int(step), loss) for step, loss in points] for name, points in state_dict.items()}
