"""The curves of a training run: loss, loss by quarter of t, learning rate, gradient norm, images a second.

Each point of a loss is the mean over all images since the last point, of all processes. The sums are part of the checkpoint, so
that a resumed run draws the curve of the uninterrupted one. They stay on the device and are read only when a point is due.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm

from lightdiff.callbacks.common import log_metrics, point_is_due, sum_over_ranks
from lightdiff.callbacks.due import DUE
from lightdiff.utils.structure import Keys, Leaf

POINT, EPOCH = 0, 1
"""Rows of `Curves.sums`: since the last point, since the start of the epoch."""


class Curves(Callback):
    """Log the curves of training.

    Every `trainer.log_every_n_steps` optimizer steps: `train/loss`, `train/loss_q1` to `train/loss_q4`, `train/lr`,
    `train/grad_norm` (L2, before clipping) and `train/images_per_second`. At the end of each epoch: `train/loss_epoch`.
    Quarter k holds the images with t in ((k - 1)/4, k/4]. Those of q1 are nearly clean, those of q4 nearly noise.

    Attributes:
        last_point: optimizer step and loss of the last point of `train/loss`; None: no point since training began or went on.
    """

    saved = Keys(sums=Leaf(lambda sums: isinstance(sums, Tensor) and sums.shape == (2, 4, 2), "a tensor of 2x4x2 sums"))
    """What its part of a checkpoint holds."""

    def __init__(self) -> None:
        # (POINT | EPOCH, quarter, sum of losses | number of images)
        self.sums = torch.zeros(2, 4, 2, dtype=torch.float64)
        self.last_point: tuple[int, float] | None = None
        # optimizer step and metrics of the last point
        self._logged: tuple[int, dict[str, float]] = 0, {}
        self._log_again = False
        self.grad_norm: Tensor | None = None
        self.logged_step = 0
        self._start_clock(0)

    @property
    def last_loss(self) -> float:
        """The last point of `train/loss`; NaN before the first one."""
        return float("nan") if self.last_point is None else self.last_point[1]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def _start_clock(self, images: int) -> None:
        self._clock, self._images = time.perf_counter(), images

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        dtype = torch.float32 if pl_module.device.type == "mps" else torch.float64
        self.sums = self.sums.to(pl_module.device, dtype)
        self.logged_step = trainer.global_step
        self.last_point = None
        step, metrics = self._logged
        if self._log_again and step == trainer.global_step:
            log_metrics(trainer, metrics, step)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # validation and sampling, which came before, are no training
        self._start_clock(0)

    def _point_is_due(self, trainer: Trainer) -> bool:
        return point_is_due(trainer) and trainer.global_step != self.logged_step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if point_is_due(trainer, after=1):
            self.grad_norm = get_total_norm(p.grad for p in pl_module.parameters() if p.grad is not None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self.sums[EPOCH].zero_()
        losses, t = outputs["losses"].to(self.sums.dtype), outputs["t"]
        # losses that are not finite stop the run, or their step is skipped
        finite = losses.isfinite()
        quarter = (torch.ceil(t * 4) - 1).clamp(0, 3).long()
        # torch's one_hot is avoided: on a CPU it looks at every value first
        member = (quarter[:, None] == torch.arange(4, device=t.device)).to(self.sums.dtype) * finite[:, None]
        self.sums += member.T @ torch.stack([losses.where(finite, 0), torch.ones_like(losses)], dim=1)
        self._images += len(losses) * trainer.world_size
        if self._point_is_due(trainer):
            self._log_point(trainer)

    def _log_point(self, trainer: Trainer) -> None:
        self.logged_step = trainer.global_step
        loss_sums, counts = sum_over_ranks(trainer, self.sums[POINT]).cpu().unbind(-1)
        self.sums[POINT].zero_()
        loss = (loss_sums.sum() / counts.sum()).item()
        self.last_point = trainer.global_step, loss
        metrics = {"train/loss": loss, "train/lr": trainer.optimizers[0].param_groups[0]["lr"]}
        for k in range(4):
            if counts[k] > 0:
                metrics[f"train/loss_q{k + 1}"] = (loss_sums[k] / counts[k]).item()
        if self.grad_norm is not None:
            metrics["train/grad_norm"] = self.grad_norm.item()
        metrics["train/images_per_second"] = self._images / max(time.perf_counter() - self._clock, 1e-9)
        self._start_clock(0)
        self._logged = trainer.global_step, metrics
        log_metrics(trainer, metrics, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss_sums, counts = sum_over_ranks(trainer, self.sums[EPOCH]).cpu().unbind(-1)
        mean = (loss_sums.sum() / counts.sum()).float()
        # not to the loggers: Lightning would write a point of the curve `epoch` beside it
        pl_module.log("train/loss_epoch", mean, logger=False)
        log_metrics(trainer, {"train/loss_epoch": mean.item()}, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        # points that precede a checkpoint must be on disk with it
        for logger in self._trainer.loggers:
            logger.save()
        return {"sums": sum_over_ranks(self._trainer, self.sums).cpu(), "logged": list(self._logged)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums = state_dict["sums"].clone()
        # checkpoints of version 0.1 do not have it
        step, metrics = state_dict.get("logged", (0, {}))
        self._logged = int(step), dict(metrics)
        # the first process goes on with the sums over all of them
        if not self._trainer.is_global_zero:
            self.sums.zero_()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # the step of such a checkpoint has points to come, so all that it had are dropped
        self._log_again = bool(checkpoint.get(DUE))
