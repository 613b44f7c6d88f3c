"""Metrics of samples while training, by the same code as eval.py."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.callbacks.common import is_last_epoch, log_metrics, run_folder, shows_progress
from lightdiff.callbacks.signals import unless_stopped
from lightdiff.core import Guidance
from lightdiff.metrics import Evaluation, FeatureExtractor, Metric, Results, measure
from lightdiff.model import DiffusionModel, Generation, example_of
from lightdiff.samplers import Sampler
from lightdiff.utils.files import user_path
from lightdiff.utils.progress import progress
from lightdiff.utils.structure import COUNT, NUMBER, Every, Items, Keys, Pair

log = logging.getLogger(__name__)


class EvaluateSamples(Callback):
    """Measure samples every few epochs and at the end of the run.

    The curves are `eval/<metric>` by optimizer step and `eval/<metric>_by_images` by images seen. Each result is also a line in
    `evaluation/results.jsonl`. `callbacks.checkpoints.monitor=eval/fid` keeps the best checkpoint by a metric. All processes
    sample their share, and the random numbers of training are not touched.

    Args:
        sampler, num_steps: how samples are drawn.
        metrics: what to compute, by name.
        extractor: gives the space in which distances are measured.
        num_samples: images drawn.
        every_n_epochs: epochs between two evaluations.
        split: which of the real images are the reference: train, val, or test, where the data set keeps some apart.
        cache_dir: folder in which their statistics are kept.
        batch_size: images at a time; None: 128.
        guidance_scale: 1 plainly conditional, 0 unconditional, above 1 guided; None: the scale of `guidance`, or 1.
        guidance: kind of guidance; None: classifier-free guidance.
        weights: "ema" (where there is an average) or "raw".
        precision: 32-true, bf16-mixed or 16-mixed.
        seed: key of the noise.

    Raises:
        ValueError: a number out of its range; in `setup`, what cannot be measured with this model and these data.
    """

    saved = Keys(history=Items(Pair(COUNT, Every(NUMBER))))
    """What its part of a checkpoint holds."""

    def __init__(
        self,
        sampler: Sampler,
        num_steps: int | None,
        metrics: Mapping[str, Metric],
        extractor: FeatureExtractor,
        num_samples: int = 1000,
        every_n_epochs: int = 1,
        split: Literal["train", "val", "test"] = "train",
        cache_dir: str = "data/reference",
        batch_size: int | None = None,
        guidance_scale: float | None = None,
        guidance: Guidance | None = None,
        weights: Literal["ema", "raw"] = "ema",
        precision: str = "32-true",
        seed: int = 0,
    ) -> None:
        for name, value in (
            ("num_samples", num_samples),
            ("every_n_epochs", every_n_epochs),
            ("batch_size", batch_size),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: 1 or more is expected")
        self.sampler, self.num_steps = sampler, num_steps
        self.metrics, self.extractor = metrics, extractor
        self.num_samples, self.every_n_epochs = num_samples, every_n_epochs
        self.split, self.cache_dir, self.batch_size = split, cache_dir, batch_size
        self.guidance, self.guidance_scale = guidance, guidance_scale
        self.weights, self.precision, self.seed = weights, precision, seed
        self.history: list[tuple[int, dict[str, float]]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, DiffusionModel)
        self.results = Results(run_folder(trainer) / "evaluation")
        # everything is built here, so that what cannot be measured is refused before the first step
        try:
            self.evaluation = Evaluation(
                self.metrics,
                self.extractor,
                trainer.datamodule,  # type: ignore[attr-defined]
                num_samples=self.num_samples,
                split=self.split,
                cache_dir=user_path(self.cache_dir),
                batch_size=self.batch_size,
            )
            self.extractor.prepare(trainer.datamodule, trainer.strategy.root_device)  # type: ignore[attr-defined]
            self.evaluation.check(conditional=pl_module.conditioning is not None)
            self._generation(pl_module)
        except ValueError as error:
            raise ValueError(f"callbacks.evaluation: {error}") from error

    def _generation(self, model: DiffusionModel) -> Generation:
        generation = Generation.of(
            model,
            **example_of(model),
            sampler=self.sampler,
            num_steps=self.num_steps,
            guidance=self.guidance,
            guidance_scale=self.guidance_scale,
            seed=self.seed,
            weights=self.weights,
            precision=self.precision,
        )
        return self.evaluation.conditioned(model, generation)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # all processes ask for the warnings, since they read the reference together
        with progress("reading the features of the real images", shown=shows_progress(trainer)):
            warnings = self.evaluation.warnings()
        for line in warnings:
            if trainer.is_global_zero:
                log.warning(line)
        self.results.forget_after(trainer.global_step)
        # A resumed run makes TensorBoard drop all points beyond its optimizer step. Curves by images have larger numbers there,
        # so their points are written again.
        for images, values in self.history:
            if images > trainer.global_step:
                log_metrics(trainer, values, images)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0 or is_last_epoch(trainer):
            unless_stopped(trainer, lambda: self._measure(trainer, pl_module))

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionModel)
        checkpoint = {"file": None, "sha256": None, "step": trainer.global_step, "epoch": trainer.current_epoch}
        record, _ = measure(
            self.evaluation,
            pl_module,
            self._generation(pl_module),
            checkpoint,
            self.results,
            progress=shows_progress(trainer),
        )
        values = {name: entry["value"] for name, entry in record["values"].items()}
        for name, value in values.items():
            # for best.ckpt, result.json and sweeps
            pl_module.log(f"eval/{name}", torch.tensor(value), logger=False)
        log_metrics(trainer, {f"eval/{name}": value for name, value in values.items()}, trainer.global_step)
        images = trainer.datamodule.images_seen  # type: ignore[attr-defined]
        # an epoch's end that was abandoned is done once more
        self.history = [entry for entry in self.history if entry[0] < images]
        self.history.append((images, {f"eval/{name}_by_images": value for name, value in values.items()}))
        log_metrics(trainer, self.history[-1][1], images)

    def state_dict(self) -> dict[str, Any]:
        return {"history": [list(entry) for entry in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [(images, values) for images, values in state_dict["history"]]
