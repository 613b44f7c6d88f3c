"""DiffusionModel: a network, a noise schedule and an objective as one LightningModule.

    batch --codec.encode--> x0 --objective(denoiser; t, noise keyed by seed and step)--> loss      training_step
    noise --sampler(denoiser)--> x0 --codec.decode--> images in [-1, 1]                            sample

Shapes: B images in a batch, C channels, H x W pixels.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from lightdiff.conditioning.base import Conditioner
from lightdiff.core import (
    Codec,
    Denoiser,
    DiffusionObjective,
    EpsilonPrediction,
    NoiseSchedule,
    Objective,
    PixelCodec,
    Prediction,
)
from lightdiff.core.randomness import keyed_generator, keyed_seed
from lightdiff.model.batch import as_batch, check_batch
from lightdiff.model.ema import EMA
from lightdiff.model.format_1 import renew
from lightdiff.model.lr_schedules import adopt_layout, adopt_settings, check_same_training
from lightdiff.model.sampling import SamplingModel, Weights, check_weights
from lightdiff.model.summary import summary_callbacks


class DiffusionModel(SamplingModel):
    """An image diffusion model that Lightning trains and that draws samples.

    All randomness of training is a function of (seed, batch number). It is drawn for the global batch, of which each process
    takes its own rows. A resumed run therefore continues exactly, and two processes train like one.

    Args:
        network: `forward(x (B, C, H, W), time (B,) or None, cond or None) -> (B, C, H, W)`; see `lightdiff.networks`.
        schedule: alpha(t) and sigma(t); see `lightdiff.core`.
        objective: the loss and all that is random in it, or None for the mean squared error (`DiffusionObjective`).
        prediction: meaning of the network's output, or None to predict the noise (`EpsilonPrediction`).
        conditioning: turns labels or captions into the network's `cond`, or None for an unconditional model.
        codec: turns images into the x0 that the network is trained on, and back, or None for pixels in [-1, 1] (`PixelCodec`).
        optimizer: parameters -> optimizer, or None for Adam with learning rate 2e-4.
        lr_scheduler: (optimizer, total optimizer steps) -> scheduler that counts optimizer steps, or None for a constant rate.
            Where training has no end the number is `sys.maxsize`.
        ema_decay: decay of the moving average of the weights, in [0, 1), or None for no average.
        time_input: how the network gets the time (timestep, t, log_sigma or none), or None to follow the schedule.
        image_shape: shape (C, H, W) of x0, or None to take the network's attribute `image_shape`.
        seed: key of all randomness in training.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: NoiseSchedule,
        objective: Objective | None = None,
        *,
        prediction: Prediction | None = None,
        conditioning: Conditioner | None = None,
        codec: Codec | None = None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        lr_scheduler: Callable[[Optimizer, int], LRScheduler] | None = None,
        ema_decay: float | None = 0.999,
        time_input: str | None = None,
        image_shape: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        shape = image_shape or getattr(network, "image_shape", None)
        if shape is None:
            raise ValueError("image_shape=null: (C, H, W) is needed for a network without an attribute image_shape")
        self.image_shape: tuple[int, int, int] = tuple(int(size) for size in shape)  # type: ignore[assignment]
        self.codec = codec or PixelCodec()
        self.trained = Denoiser(
            network,
            schedule,
            prediction or EpsilonPrediction(),
            conditioning,
            time_input=time_input,
            value_range=self.codec.value_range,
        )
        self.objective = objective or DiffusionObjective()
        self.objective.check(self.trained.prediction, schedule)
        self.ema_decay, self.seed = ema_decay, seed
        self.ema = EMA(self.trained, ema_decay) if ema_decay is not None else None
        self.val_loss = MeanMetric().set_dtype(torch.float64)
        self._make_optimizer, self._make_lr_scheduler = optimizer, lr_scheduler
        # what its file says of the images it is trained on, in plain data
        self.dataset: dict[str, Any] | None = None

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        return self.trained.network

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule."""
        return self.trained.schedule

    @property
    def conditioning(self) -> Conditioner | None:
        """The conditioner that is trained with the network; None for an unconditional model."""
        return self.trained.conditioner  # type: ignore[return-value]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ...; the number where a label has no name, and () for a model without labels."""
        return () if self.conditioning is None else self.conditioning.names_of_labels

    # -- weights ------------------------------------------------------------------------------------------------------

    def denoiser_of(self, weights: Weights) -> Denoiser:
        """Return the denoiser with averaged weights ("ema"), as long as there is no average the trained one, or that ("raw").

        Raises:
            ValueError: `weights` is neither "ema" nor "raw".
        """
        check_weights(weights)
        averaged = weights == "ema" and self.ema is not None and self.ema.num_updates > 0
        return self.ema.module if averaged else self.trained  # type: ignore[union-attr,return-value]

    @property
    def denoiser(self) -> Denoiser:
        """The denoiser with the averaged weights, or with the raw ones as long as there is no average."""
        return self.denoiser_of("ema")

    def forward(self, x_t: Tensor, t: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """Return the estimate x0_hat (B, C, H, W) of the images behind x_t (B, C, H, W) at times t (B,)."""
        return self.denoiser(x_t, t, cond)

    # -- training -----------------------------------------------------------------------------------------------------

    @property
    def batch_number(self) -> int:
        """Number of batches this run has trained on, over all epochs and resumes; the key of the current batch's randomness."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]

    @property
    def float_dtype(self) -> torch.dtype:
        """Type of the weights; images are mixed with noise in this type."""
        return next(self.network.parameters()).dtype

    def encode(self, images: Tensor) -> Tensor:
        """Return x0 of images (B, C, H, W), uint8 in 0..255 or floats in [0, 1], in the type of the weights."""
        return self.codec.encode(images, self.float_dtype)

    def setup(self, stage: str) -> None:
        if stage == "fit":
            # a part that no checkpoint can describe is refused now and not when the first one is saved
            self.describe()
            self.check_end(self.trainer)
        self._checked_stages: set[str] = set()
        # set by `on_train_start`
        self._total_steps = math.inf

    def check_end(self, trainer: Trainer) -> None:
        """Check that training has an end where the loss or the learning rate follows its progress.

        Raises:
            ValueError: it has none; one line that begins with an argument of the trainer.
        """
        if trainer.max_epochs == trainer.max_steps == -1:
            for name, part in (("objective", self.objective), ("lr_scheduler", self._make_lr_scheduler)):
                if getattr(part, "needs_end", False):
                    raise ValueError(
                        f"max_epochs=-1: {name}={type(part).__name__} changes with the progress of training, which has no end; "
                        "choices: 1 or more, or max_steps of 1 or more (max_time may end it earlier)"
                    )

    def on_train_start(self) -> None:
        self._total_steps = float(self.trainer.estimated_stepping_batches)

    def _taken(self, batch: Any, stage: str) -> dict[str, Tensor]:
        """Name the parts of a batch, and check the first one of each stage; a check of each would wait for the GPU."""
        batch = as_batch(batch)
        if stage not in self._checked_stages:
            check_batch(batch, self.image_shape, self.conditioning, self.codec)
            self._checked_stages.add(stage)
        return batch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # for dropout in the network; everything else draws from generators of its own
        torch.manual_seed(keyed_seed("network", self.seed, self.batch_number, self.global_rank))

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Mean loss over the batch (see `lightning.batch`), and the single `losses` (B,) with their times `t` (B,)."""
        batch = self._taken(batch, "training")
        generator = keyed_generator(self.device, "train", self.seed, self.batch_number)
        losses, t = self._losses(batch, "raw", generator, len(batch["image"]) * self.trainer.world_size)
        return {"loss": losses.mean(), "losses": losses.detach(), "t": t}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss with the averaged weights, at the same times and noise in every epoch."""
        batch = self._taken(batch, "validation")
        rows = torch.tensor(len(batch["image"]), device=self.device)
        rows = self.trainer.strategy.reduce(rows, reduce_op="sum")  # shards of the last batch may differ
        generator = keyed_generator(self.device, "validate", self.seed, batch_idx)
        losses, _ = self._losses(batch, "ema", generator, int(rows))
        self.val_loss.update(losses)

    def on_validation_epoch_end(self) -> None:
        loss = self.val_loss.compute().float()
        self.log("val/loss", loss, prog_bar=True, logger=False)
        # written at this step by hand, because Lightning would write at the step before, which a resumed run may log twice
        for logger in self.trainer.loggers:
            logger.log_metrics({"val/loss": loss.item()}, step=self.trainer.global_step)
        self.val_loss.reset()

    def _losses(
        self, batch: dict[str, Tensor], weights: Weights, generator: torch.Generator, global_rows: int
    ) -> tuple[Tensor, Tensor]:
        """Return losses (B,) and times (B,) of this process's rows; all processes draw alike for the whole global batch."""
        x0, denoiser = self.encode(batch["image"]), self.denoiser_of(weights)
        rows = slice(self.global_rank, None, self.trainer.world_size)
        draw = self.objective.draw((global_rows, *x0.shape[1:]), self.schedule, generator, x0.dtype)
        own, cond = draw.rows(rows), None
        if denoiser.conditioner is not None:
            conditioner: Conditioner = denoiser.conditioner  # type: ignore[assignment]
            drop, chance = torch.rand(2, global_rows, generator=generator, device=self.device)
            inputs, dropped = conditioner.inputs(batch, chance[rows]), conditioner.dropped(drop[rows])
            cond = conditioner(inputs, dropped)
            own = self.objective.conditioned(own, inputs, dropped)
        average = self.denoiser_of("ema")
        return self.objective.losses(denoiser, average, x0, own, cond, self.progress), own.t

    @property
    def progress(self) -> float:
        """How much of the training is done, 0 to 1; 0 where it has no end."""
        return min(1.0, self.trainer.global_step / self._total_steps)

    def use_optimizer(self, make: Callable[[Iterable[nn.Parameter]], Optimizer]) -> None:
        """Train with the optimizer that this function makes of the parameters; call it before training begins."""
        self._make_optimizer = make

    def _new_optimizer(self) -> Optimizer:
        modules = (self.trained, self.objective)
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        return self._make_optimizer(parameters) if self._make_optimizer else torch.optim.Adam(parameters, lr=2e-4)

    def configure_optimizers(self) -> Any:
        self.objective.check_training(self.trained)
        optimizer = self._new_optimizer()
        if self._make_lr_scheduler is None:
            return optimizer
        # infinity is no int
        steps = int(min(self.trainer.estimated_stepping_batches, sys.maxsize))
        scheduler = self._make_lr_scheduler(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update(self.trained)

    def configure_callbacks(self) -> list[Callback]:
        # Lightning's own table would list the network as one line and count the average of the weights as well
        return summary_callbacks(self.trainer)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        renew(checkpoint)
        optimizer = self._new_optimizer()
        if self.ema is None and self.ema_decay is not None:
            # `load_model` has left out the average, the optimizer and its schedule, and has set the mode for sampling
            check_same_training(checkpoint, optimizer.defaults)
            self.ema = EMA(self.trained, self.ema_decay)
            self.train()
        adopt_settings(checkpoint, optimizer.defaults)
        adopt_layout(checkpoint, optimizer)
