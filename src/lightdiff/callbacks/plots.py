"""Plots beside the run and in its loggers: the noise schedule at the start, the loss curve as it grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import just_measured, run_folder
from lightdiff.callbacks.curves import Curves
from lightdiff.callbacks.show import show_image
from lightdiff.model import DiffusionModel
from lightdiff.utils.plots import log_y, new_figure, pixels, save_figure
from lightdiff.utils.structure import NUMBER, Items, Keys


class PlotSchedule(Callback):
    """Plot the noise schedule: alpha(t) and sigma(t), log-SNR(t), and how often each log-SNR is trained on.

    The file `plots/schedule.png` holds the three panels side by side. The loggers get each as a picture of its
    own (`plots/schedule_scales`, `_log_snr`, `_density`), which stays readable on the small cards of TensorBoard.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "plots"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0 or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DiffusionModel)
        panels = _panels(pl_module)
        figure, axes = new_figure(len(panels))
        for draw, panel in zip(panels.values(), axes, strict=True):
            draw(panel)
        save_figure(self.folder / "schedule.png", figure)
        for name, draw in panels.items():
            _show(trainer, f"plots/schedule_{name}", draw)


def _panels(model: DiffusionModel) -> dict[str, Callable[[Any], None]]:
    """Return the functions that draw a panel into its axes, by name."""
    schedule = model.schedule
    t = torch.linspace(0, 1, 501, dtype=torch.float64)
    trained = model.objective.draw((20_000, 1, 1, 1), schedule, torch.Generator().manual_seed(0)).t

    def scales(axes: Any) -> None:
        axes.plot(t, schedule.alpha(t), label="alpha (image)")
        axes.plot(t, schedule.sigma(t), label="sigma (noise)")
        if schedule.sigma(t).max() > 10:
            axes.set_yscale("symlog")
        axes.set(title="share of image and noise", xlabel="t")
        axes.legend()

    def log_snr(axes: Any) -> None:
        axes.plot(t, schedule.log_snr(t))
        axes.set(title="log-SNR", xlabel="t")

    def density(axes: Any) -> None:
        axes.hist(schedule.log_snr(trained), bins=100, density=True)
        axes.set(title="density in training", xlabel="log-SNR")

    return {"scales": scales, "log_snr": log_snr, "density": density}


def _show(trainer: Trainer, tag: str, draw: Callable[[Any], None], path: Path | None = None) -> None:
    """Draw a figure of one panel, and show it in the loggers at this step.

    Args:
        trainer: the trainer of the run.
        tag: name of the picture in the loggers.
        draw: draws the panel into its axes.
        path: file to save the figure in; None: none.
    """
    figure, (axes,) = new_figure()
    draw(axes)
    if path is not None:
        save_figure(path, figure)
    show_image(trainer, tag, pixels(figure))


class PlotLoss(Callback):
    """Plot training and validation loss against optimizer steps into `plots/loss.png`, anew after each epoch.

    Training points are those of `Curves`; validation points stand where a validation was made and nowhere else. The points
    are part of the checkpoint, so that a resumed run goes on with them.
    """

    saved = Keys(training=Items(Items(NUMBER, length=2)), validation=Items(Items(NUMBER, length=2)))
    """What its part of a checkpoint holds."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, float]]] = {"training": [], "validation": []}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "plots"
        self.curves = next((callback for callback in trainer.callbacks if isinstance(callback, Curves)), None)  # type: ignore[attr-defined]

    def _add(self, name: str, step: int, loss: float) -> None:
        points = self.points[name]
        # with gradient accumulation several batches follow a point before the next step
        if not points or points[-1][0] < step:
            points.append((step, loss))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.curves is not None and self.curves.last_point is not None:
            self._add("training", *self.curves.last_point)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        measured = just_measured(trainer)
        if "val/loss" in measured and not trainer.sanity_checking:
            self._add("validation", trainer.global_step, measured["val/loss"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and any(self.points.values()):
            _show(trainer, "plots/loss", self._draw, self.folder / "loss.png")

    def _draw(self, axes: Any) -> None:
        for name, points in self.points.items():
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 20 else None)
        log_y(axes)
        axes.set(title="loss", xlabel="optimizer step")
        axes.legend()

    def state_dict(self) -> dict[str, Any]:
        return {name: [list(point) for point in points] for name, points in self.points.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.points = {name: [(int(step), loss) for step, loss in points] for name, points in state_dict.items()}
