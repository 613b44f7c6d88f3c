"""DiffusionModel: a network, a noise schedule and an objective as one LightningModule.

    batch --normalise--> x0 --(t, noise keyed by seed and step)--> x_t --network--> loss          training_step
    noise --sampler(denoiser)--> x0 --> images in [-1, 1]                                          sample

Shapes: B images in a batch, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from lightdiff.conditioning.base import Conditioner, Labels
from lightdiff.core import Denoiser, DiffusionLoss, Guidance, NoiseSchedule, Objective
from lightdiff.core.randomness import keyed_generator, keyed_seed
from lightdiff.lightning.batch import as_batch, check_batch
from lightdiff.lightning.ema import EMA
from lightdiff.lightning.generation import Generation
from lightdiff.lightning.lr_schedules import adopt_layout, adopt_settings, check_same_training
from lightdiff.lightning.stored import StoredModel
from lightdiff.lightning.summary import summary_callbacks
from lightdiff.samplers import Sampler, SamplerState

Weights = Literal["ema", "raw"]


class DiffusionModel(StoredModel):
    """An image diffusion model that Lightning trains and that draws samples.

    All randomness of training is a function of (seed, batch number). It is drawn for the global batch, of which each process
    takes its own rows. A resumed run therefore continues exactly, and two processes train like one.

    Args:
        network: `forward(x (B, C, H, W), time (B,) or None, cond or None) -> (B, C, H, W)`; see `lightdiff.networks`.
        schedule: alpha(t) and sigma(t); see `lightdiff.core`.
        objective: the prediction, its loss and the noise, or None to predict epsilon with the plain mean squared error.
        conditioning: turns labels or captions into the network's `cond`, or None for an unconditional model.
        optimizer: parameters -> optimizer, or None for Adam with learning rate 2e-4.
        lr_scheduler: (optimizer, total optimizer steps) -> scheduler that counts optimizer steps, or None for a constant rate.
        ema_decay: decay of the moving average of the weights, in [0, 1), or None for no average.
        time_input: how the network gets the time (timestep, t, log_sigma or none), or None to follow the schedule.
        value_range: range of x0 in which the network works; images are mapped to it, and `sample` maps back to [-1, 1].
        image_shape: (C, H, W), or None to take the network's attribute `image_shape`.
        seed: key of all randomness in training.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: NoiseSchedule,
        objective: Objective | None = None,
        *,
        conditioning: Conditioner | None = None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        lr_scheduler: Callable[[Optimizer, int], LRScheduler] | None = None,
        ema_decay: float | None = 0.999,
        time_input: str | None = None,
        value_range: Sequence[float] = (-1.0, 1.0),
        image_shape: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.objective = objective or Objective()
        self.objective.check(schedule)
        bounds = tuple(float(bound) for bound in value_range)
        if len(bounds) != 2 or not -math.inf < bounds[0] < bounds[1] < math.inf:
            raise ValueError(f"value_range={list(value_range)}: two numbers, the lower one first, are expected")
        shape = image_shape or getattr(network, "image_shape", None)
        if shape is None:
            raise ValueError("image_shape=null: (C, H, W) is needed for a network without an attribute image_shape")
        taken = getattr(network, "cond_keys", None)
        if conditioning is not None and taken is not None and not set(conditioning.cond_keys) <= set(taken):
            raise ValueError(
                f"conditioning={type(conditioning).__name__}: it gives {', '.join(conditioning.cond_keys)}, "
                f"but {type(network).__name__} takes {', '.join(taken) or 'no condition (as it is configured)'}"
            )
        self.network, self.schedule, self.conditioning = network, schedule, conditioning
        self.value_range = bounds
        self.image_shape: tuple[int, int, int] = tuple(int(size) for size in shape)  # type: ignore[assignment]
        self.time_input, self.ema_decay, self.seed = time_input, ema_decay, seed
        self.ema = EMA(self._averaged(), ema_decay) if ema_decay is not None else None
        self.loss = DiffusionLoss(self.objective)
        self.val_loss = MeanMetric().set_dtype(torch.float64)
        self._make_optimizer, self._make_lr_scheduler = optimizer, lr_scheduler
        # what its file says of the images it is trained on, in plain data
        self.dataset: dict[str, Any] | None = None
        # built only to refuse a time_input that does not exist
        self.denoiser_of("raw")

    def _averaged(self) -> nn.ModuleDict:
        """Return the modules that are trained, averaged and used in sampling."""
        modules = {"network": self.network}
        if self.conditioning is not None:
            modules["conditioning"] = self.conditioning
        return nn.ModuleDict(modules)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ...; the number where a label has no name, and () for a model without labels."""
        return () if self.conditioning is None else self.conditioning.names_of_labels

    # -- weights ------------------------------------------------------------------------------------------------------

    def modules_of(self, weights: Weights) -> nn.ModuleDict:
        """Return network and conditioner (if any) with averaged weights ("ema"; raw until there is an average) or "raw" ones."""
        if weights not in ("ema", "raw"):
            raise ValueError(f"weights={weights}: choices: ema, raw")
        if weights == "ema" and self.ema is not None and self.ema.num_updates > 0:
            return self.ema.module  # type: ignore[return-value]
        return self._averaged()

    def denoiser_of(self, weights: Weights) -> Denoiser:
        """Return a denoiser with the averaged or the raw weights, as `modules_of` chooses them."""
        network, settings = self.modules_of(weights)["network"], {"value_range": self.value_range}
        return Denoiser(network, self.schedule, self.objective.prediction, time_input=self.time_input, **settings)

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

    def normalise(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W), uint8 in 0..255 or floats in [0, 1], to floating point in `value_range`."""
        low, high = self.value_range
        return images.to(self.float_dtype) * ((high - low) / (255 if images.dtype == torch.uint8 else 1)) + low

    def setup(self, stage: str) -> None:
        self._checked_stages: set[str] = set()

    def _taken(self, batch: Any, stage: str) -> dict[str, Tensor]:
        """Name the parts of a batch, and check the first one of each stage; a check of each would wait for the GPU."""
        batch = as_batch(batch)
        if stage not in self._checked_stages:
            check_batch(batch, self.image_shape, self.conditioning)
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
        x0 = self.normalise(batch["image"])
        rows = slice(self.global_rank, None, self.trainer.world_size)
        everything = x0 if len(x0) == global_rows else x0.new_empty((global_rows, *x0.shape[1:]))
        t, noise = self.loss.draw(everything, self.schedule, generator)
        cond = None
        if self.conditioning is not None:
            conditioner: Conditioner = self.modules_of(weights)["conditioning"]  # type: ignore[assignment]
            drop, chance = torch.rand(2, global_rows, generator=generator, device=self.device)
            cond = conditioner(conditioner.inputs(batch, chance[rows]), drop[rows] < conditioner.drop_prob)
        return self.loss.at(self.denoiser_of(weights), x0, t[rows], noise[rows], cond), t[rows]

    def _new_optimizer(self) -> Optimizer:
        parameters = [p for p in self._averaged().parameters() if p.requires_grad]
        return self._make_optimizer(parameters) if self._make_optimizer else torch.optim.Adam(parameters, lr=2e-4)

    def configure_optimizers(self) -> Any:
        self.objective.check_training(self.schedule)
        optimizer = self._new_optimizer()
        if self._make_lr_scheduler is None:
            return optimizer
        scheduler = self._make_lr_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update(self._averaged())

    def configure_callbacks(self) -> list[Callback]:
        # Lightning's own table would list the network as one line and count the average of the weights as well
        return summary_callbacks(self.trainer)

    # -- sampling -----------------------------------------------------------------------------------------------------

    def sample(
        self,
        num_samples: int,
        *,
        sampler: str | Sampler = "ddim",
        num_steps: int | None = 50,
        guidance_scale: float | None = None,
        guidance: Guidance | Mapping[str, Any] | None = None,
        labels: Labels = None,
        prompt: str | Sequence[str] | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        progress: bool = False,
        weights: Weights = "ema",
    ) -> Tensor:
        """Draw images.

        Args:
            num_samples: number of images, 1 or more.
            sampler: a `Sampler`, or its name (ddpm, ddim, heun, dpmpp_2m, dpmpp_3m, dpmpp_2m_sde), which then clips x0_hat.
            num_steps: steps of the sampler, or None for every timestep of a discrete schedule and 1000 steps of any other.
            guidance_scale: 1 plainly conditional, 0 unconditional, above 1 guided; None for the scale of `guidance`, or 1.
            guidance: such as `ClassifierFree(2.0, interval=(0.2, 0.8))` or {"scale": 2.0, "rescale": 0.7}; None: classifier-free.
            labels: class of each image, number or name, or several to show in turn; None: every class in turn.
            prompt: caption of each image, or several to show in turn (text-conditional models).
            seed: the same seed gives the same images whatever the batch size; None gives different ones at every call.
            batch_size: images at a time, or None for 128.
            progress: show a progress bar.
            weights: "ema" for the averaged weights (the raw ones as long as there is no average), or "raw".

        Returns:
            Floating-point images (num_samples, C, H, W) in [-1, 1].

        Raises:
            ValueError: a number out of its range, more labels or prompts than images, or a setting that this model cannot have.
        """
        return Generation.of(
            self,
            num_samples=num_samples,
            sampler=sampler,
            num_steps=num_steps,
            guidance=guidance,
            guidance_scale=guidance_scale,
            labels=labels,
            prompt=prompt,
            seed=seed,
            weights=weights,
        ).images(self, range(num_samples), batch_size=batch_size, progress=progress)

    def trajectory(self, num_samples: int, **settings: Any) -> Iterator[SamplerState]:
        """Yield the states of a sampling run, from noise to images, for pictures of the process; arguments as for `sample`."""
        generation = Generation.of(self, num_samples=num_samples, **{"seed": None, **settings})
        return generation.trajectory(self, range(num_samples))

    def to_unit_range(self, x: Tensor) -> Tensor:
        """Map x from `value_range` to [-1, 1] and clamp it there."""
        low, high = self.value_range
        return ((x - low) * (2 / (high - low)) - 1).clamp(-1, 1)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        optimizer = self._new_optimizer()
        if self.ema is None and self.ema_decay is not None:
            # `load_model` has left out the average, the optimizer and its schedule, and has set the mode for sampling
            check_same_training(checkpoint, optimizer.defaults)
            self.ema = EMA(self._averaged(), self.ema_decay)
            self.train()
        adopt_settings(checkpoint, optimizer.defaults)
        adopt_layout(checkpoint, optimizer)
