"""Generation: everything that decides what a model's samples look like, in one place.

Image i of a seed is always the same: its noise comes from blocks keyed by (seed, block), so that batch size and the number of
processes do not matter, and training's random numbers are never touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lightdiff.conditioning.base import Labels
from lightdiff.core import ClassifierFreeGuidance
from lightdiff.core.randomness import BlockGenerator
from lightdiff.samplers import SAMPLERS, Sampler, SamplerState

if TYPE_CHECKING:
    from lightdiff.lightning.model import DiffusionModel

DEFAULT_BATCH_SIZE = 128

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Named as in trainer.precision: that of the weights, or the type that products are computed in."""


@dataclass(frozen=True)
class Generation:
    """Settings of a sampling run.

    Args:
        sampler: the sampler object.
        num_steps: its steps.
        guidance_scale: 1 plainly conditional, 0 unconditional.
        choice: what the images show, as the model's conditioner understands it (labels or prompts), or None.
        seed: key of the noise.
        weights: "ema" or "raw".
        precision: a name of `PRECISIONS`: in which the network computes; the sampler itself always computes in full.
    """

    sampler: Sampler
    num_steps: int
    guidance_scale: float
    choice: Any
    seed: int
    weights: str
    precision: str = "32-true"

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        *,
        sampler: str | Sampler = "ddim",
        num_steps: int | None = 50,
        guidance_scale: float = 1.0,
        labels: Labels = None,
        prompt: str | Sequence[str] | None = None,
        seed: int = 0,
        weights: str = "ema",
        precision: str = "32-true",
    ) -> Generation:
        """Check the settings against the model; ValueErrors name the argument, the value and the choices."""
        if isinstance(sampler, str):
            if sampler not in SAMPLERS:
                raise ValueError(f"sampler={sampler}: choices: {', '.join(SAMPLERS)}")
            sampler = SAMPLERS[sampler](clip_denoised=True)  # as in conf/sampler
        if precision not in PRECISIONS:
            raise ValueError(f"precision={precision}: choices: {', '.join(PRECISIONS)}")
        if num_steps is None:
            num_steps = getattr(model.schedule, "num_train_timesteps", 1000)
        sampler.check(model.schedule, num_steps=num_steps, noise=model.objective.noise)
        if model.conditioning is None:
            for name, value in (("labels", labels), ("prompt", prompt)):
                if value is not None:
                    raise ValueError(f"{name}={value}: this model is unconditional (trained with conditioning=none)")
            if guidance_scale != 1:
                raise ValueError(
                    f"guidance_scale={guidance_scale}: this model is unconditional (trained with conditioning=none); choices: 1"
                )
            choice = None
        else:
            choice = model.conditioning.choose(labels=labels, prompt=prompt)
        return cls(sampler, num_steps, float(guidance_scale), choice, seed, weights, precision)

    def trajectory(self, model: DiffusionModel, rows: range) -> Iterator[SamplerState]:
        """States from noise to images for the rows `rows` of this seed's endless list of images."""
        modules = model.modules_of(self.weights)  # type: ignore[arg-type]
        with sampling_mode(modules):
            denoiser: Any = model.denoiser_of(self.weights)  # type: ignore[arg-type]
            cond = None
            if model.conditioning is not None:
                conditioner: Any = modules["conditioning"]
                cond = conditioner(conditioner.inputs_of_rows(self.choice, rows, model.device))
                if self.guidance_scale != 1:
                    denoiser = ClassifierFreeGuidance(denoiser, self.guidance_scale, conditioner.null())
            generator = BlockGenerator(self.seed, rows.start, len(rows), model.device)
            like = torch.empty((len(rows), *model.image_shape), device=model.device, dtype=model.float_dtype)
            x_T = model.schedule.prior_std * model.objective.noise.like(like, generator)
        states = self.sampler.trajectory(denoiser, x_T, self.num_steps, cond=cond, generator=generator)
        while True:
            # entered anew for each step: the caller's code in between runs as it was
            with sampling_mode(modules), self._autocast(model.device):
                state = next(states, None)
            if state is None:
                return
            yield state

    def _autocast(self, device: torch.device) -> torch.autocast:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(device.type, dtype, enabled=dtype is not None)

    def images(
        self, model: DiffusionModel, rows: range, *, batch_size: int | None = None, progress: bool = False
    ) -> Tensor:
        """Images (len(rows), C, H, W) in [-1, 1] on the model's device."""
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: 1 or more is expected")
        size = batch_size or DEFAULT_BATCH_SIZE
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        finished = [torch.empty((0, *model.image_shape), device=model.device, dtype=model.float_dtype)]
        with tqdm(total=len(batches) * self.num_steps, desc="sampling", unit="step", disable=not progress) as bar:
            for batch in batches:
                for i, state in enumerate(self.trajectory(model, batch)):
                    bar.update(int(i > 0))
                    x = state.x_t
                finished.append(model.to_unit_range(x))
        return torch.cat(finished)


@contextmanager
def sampling_mode(modules: nn.Module) -> Iterator[None]:
    """Eval mode (BatchNorm, dropout) and no gradients within; each module's own mode again afterwards."""
    training = [module for module in modules.modules() if module.training]
    for module in training:  # this is entered for each step, when nearly all are in eval mode already
        module.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True
