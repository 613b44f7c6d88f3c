"""The curves of a training run: loss, loss by quarter of t, learning rate, gradient norm, images a second.

Each point is the mean over all images since the last point, of all processes. The sums are part of the checkpoint, so a
resumed run draws the curve of the uninterrupted one; they stay on the device and are read only when a point is due.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm

from lightdiff.callbacks.common import log_metrics, point_is_due, sum_over_ranks, tensorboards

POINT, EPOCH = 0, 1


class Curves(Callback):
    """Logs `train/loss`, `train/loss_q1..q4`, `train/lr`, `train/grad_norm`, `train/images_per_second` every
    `trainer.log_every_n_steps` optimizer steps and `train/loss_epoch` at the end of each epoch.

    Quarter k holds the images with t in ((k - 1)/4, k/4]: q1 is nearly clean, q4 nearly noise.
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(2, 4, 2, dtype=torch.float64)  # (since the last point | epoch, quarter, loss | count)
        self.last_loss = float("nan")
        self.grad_norm: Tensor | None = None
        self.logged_step = 0
        self._start_clock(0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def _start_clock(self, images: int) -> None:
        self._clock, self._images = time.perf_counter(), images

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        dtype = torch.float32 if pl_module.device.type == "mps" else torch.float64
        self.sums = self.sums.to(pl_module.device, dtype)
        self.logged_step = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_clock(0)  # validation and sampling are not training

    def _point_is_due(self, trainer: Trainer) -> bool:
        return point_is_due(trainer) and trainer.global_step != self.logged_step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if point_is_due(trainer, after=1):
            self.grad_norm = get_total_norm(p.grad for p in pl_module.parameters() if p.grad is not None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        losses, t = outputs["losses"].to(self.sums.dtype), outputs["t"]
        finite = losses.isfinite()  # others stop the run, or their step is skipped
        quarter = (torch.ceil(t * 4) - 1).clamp(0, 3).long()
        # no one_hot, which on a CPU looks at every value first
        member = (quarter[:, None] == torch.arange(4, device=t.device)).to(self.sums.dtype) * finite[:, None]
        self.sums += member.T @ torch.stack([losses.where(finite, 0), torch.ones_like(losses)], dim=1)
        self._images += len(losses) * trainer.world_size
        if self._point_is_due(trainer):
            self._log_point(trainer)

    def _log_point(self, trainer: Trainer) -> None:
        self.logged_step = trainer.global_step
        loss_sums, counts = sum_over_ranks(trainer, self.sums[POINT]).cpu().unbind(-1)
        self.sums[POINT].zero_()
        self.last_loss = (loss_sums.sum() / counts.sum()).item()
        metrics = {"train/loss": self.last_loss, "train/lr": trainer.optimizers[0].param_groups[0]["lr"]}
        for k in range(4):
            if counts[k] > 0:
                metrics[f"train/loss_q{k + 1}"] = (loss_sums[k] / counts[k]).item()
        if self.grad_norm is not None:
            metrics["train/grad_norm"] = self.grad_norm.item()
        metrics["train/images_per_second"] = self._images / max(time.perf_counter() - self._clock, 1e-9)
        self._start_clock(0)
        log_metrics(trainer, metrics, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss_sums, counts = sum_over_ranks(trainer, self.sums[EPOCH]).cpu().unbind(-1)
        self.sums[EPOCH].zero_()
        mean = (loss_sums.sum() / counts.sum()).float()
        pl_module.log("train/loss_epoch", mean, logger=False)  # Lightning's way would repeat its point of `epoch`
        log_metrics(trainer, {"train/loss_epoch": mean.item()}, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        for logger in tensorboards(self._trainer):  # what precedes a checkpoint must be on disk with it
            logger.experiment.flush()
        return {"sums": sum_over_ranks(self._trainer, self.sums).cpu()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums = state_dict["sums"].clone()
        if not self._trainer.is_global_zero:  # one rank goes on with the sum over all
            self.sums.zero_()
