"""Generation: all settings of a sampling run in one object, checked against the model, and the code that draws the images.

A seed stands for an endless list of images. The noise of image i is drawn in blocks keyed by (seed, block), so that the image
depends neither on the batch size nor on the number of processes, and training's random numbers are never touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightdiff.conditioning.base import Labels, chosen_labels
from lightdiff.core import Condition, Guidance, Guides, OwnEntries
from lightdiff.core.randomness import BlockGenerator
from lightdiff.model.asked import Images, check_noise, check_number, read_condition, said
from lightdiff.model.guided import check_aim, fitting_guidance
from lightdiff.model.loop import batches, last_state
from lightdiff.samplers import SAMPLERS, Sampler, SamplerState
from lightdiff.utils.progress import progress as show_progress

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel
    from lightdiff.model.sampling import Weights

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Names as in trainer.precision, with the type to which autocast lowers the network's computation; None: no autocast."""

NEVER_WITHOUT = (
    "this model was trained with its condition image alone and never without it (conditioning.drop_prob=0), so that guidance has "
    "nothing to compare it with"
)
"""Why there is no guidance for a model whose conditioner says that `guidance_acts` is False."""


@dataclass(frozen=True)
class Generation:
    """Settings of a sampling run.

    Args:
        sampler: the sampler object.
        num_steps: the sampler's number of steps.
        guidance: kind and strength of the guidance.
        choice: the labels, prompts or images to show, as the conditioner's `choose` returned them; None: the null condition.
        seed: key of the noise.
        weights: "ema" or "raw".
        precision: a key of `PRECISIONS` for the network; the sampler itself always computes in the type of the weights.
        labels: classes (K,) to show, int64, image i that of entry i modulo K; None where the images are not drawn by classes.
        condition: uint8 images (K, C', h, w) that are the condition, likewise; None where the condition is no image.
        condition_noise: level of the noise that is mixed into the condition images; None: the conditioner's own.
    """

    sampler: Sampler
    num_steps: int
    guidance: Guidance
    choice: Any
    seed: int
    weights: Weights
    precision: str = "32-true"
    labels: Tensor | None = None
    condition: Tensor | None = None
    condition_noise: float | None = None

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        *,
        num_samples: int | None = None,
        sampler: str | Sampler = "ddim",
        num_steps: int | None = 50,
        guidance: Guidance | Mapping[str, Any] | None = None,
        guidance_scale: float | None = None,
        labels: Labels = None,
        prompt: str | Sequence[str] | None = None,
        condition: Images = None,
        condition_noise: float | None = None,
        seed: int | None = 0,
        weights: Weights = "ema",
        precision: str = "32-true",
        guides: Guides | None = None,
    ) -> Generation:
        """Check the settings against the model and return them; the arguments are those of `DiffusionModel.sample`.

        `num_samples` is only checked: it must be at least the number of labels, prompts or conditions. None leaves it open.
        `guides` says where the models come from that `guidance` names; None: from their files, which name no classes but
        lightdiff's own.

        Raises:
            ValueError: a setting that this model cannot have; the message names argument, value and choices.
        """
        given = read_condition(condition, model)
        if num_samples is not None:
            check_number(num_samples, labels=labels, prompt=prompt, condition=given)
        guidance = fitting_guidance(model, guidance, guidance_scale, guides)
        if isinstance(sampler, str):
            if sampler not in SAMPLERS:
                raise ValueError(f"sampler={sampler}: choices: {', '.join(SAMPLERS)}")
            # clipped, as conf/sampler has it
            sampler = SAMPLERS[sampler](clip_denoised=True)
        if precision not in PRECISIONS:
            raise ValueError(f"precision={precision}: choices: {', '.join(PRECISIONS)}")
        if seed is None:
            seed = int.from_bytes(os.urandom(4), "little")
        if num_steps is None:
            num_steps = getattr(model.schedule, "num_train_timesteps", 1000)
        sampler.check(model.schedule, num_steps=num_steps, noise=model.objective.noise)
        if model.conditioning is None:
            names = guidance.class_names
            asked = {"labels": None if names else labels, "prompt": prompt, "condition": given}
            for name, value in asked.items():
                if value is not None:
                    raise ValueError(
                        f"{name}={said(value)}: this model is unconditional (trained with conditioning=none)"
                    )
            choice = None
            chosen = chosen_labels(labels, len(names), names) if names else None
        else:
            conditioner = model.conditioning
            if given is not None and "condition" not in conditioner.takes:
                takes = " or ".join(f"{name}=..." for name in conditioner.takes)
                raise ValueError(
                    f"condition={said(given)}: this model takes no image as its condition; choices: {takes}"
                )
            for part in guidance.parts_by_key().values():
                if part.needs_condition and part.acts and not conditioner.guidance_acts:
                    raise ValueError(f"guidance_scale={part.scale:g}: {NEVER_WITHOUT}; choices: 1")
            # a conditioner of a user's own that takes no images need not know of them
            images = {"condition": given} if "condition" in conditioner.takes else {}
            choice = conditioner.choose(labels=labels, prompt=prompt, **images)
            names = model.class_names
            chosen = chosen_labels(labels, len(names), names) if prompt is None and names else None
        check_aim(guidance, chosen)
        check_noise(condition_noise, model)
        return cls(sampler, num_steps, guidance, choice, seed, weights, precision, chosen, given, condition_noise)

    def labels_of_rows(self, rows: range) -> Tensor | None:
        """Return the classes of images `rows`, (len(rows),) int64; None where the images are not drawn by classes."""
        return None if self.labels is None else self.labels[torch.arange(rows.start, rows.stop) % len(self.labels)]

    def trajectory(self, model: DiffusionModel, rows: range) -> Iterator[SamplerState]:
        """Yield the sampler's states, from noise to images, for images `rows` of the seed's endless list.

        Args:
            model: the model.
            rows: which images; with n of them, x_t of each state is (n, C, H, W).
        """

        def states() -> Iterator[SamplerState]:
            denoiser, cond, generator = self.parts(model, rows)
            like = torch.empty((len(rows), *model.image_shape), device=model.device, dtype=model.float_dtype)
            x_T = model.schedule.prior_std * model.objective.noise.like(like, generator)
            yield from self.sampler.trajectory(denoiser, x_T, self.num_steps, cond=cond, generator=generator)

        return self.stepwise(model, states())

    def parts(self, model: DiffusionModel, rows: range) -> tuple[Any, Condition | None, BlockGenerator]:
        """Return the guided denoiser, the condition and the source of noise of images `rows`; call it in `stepwise`."""
        denoiser: Any = model.denoiser_of(self.weights)
        cond = null_cond = None

        def conditions_of(conditioner: Any) -> tuple[Condition, Condition]:
            # only the network is computed in another precision
            with torch.autocast(model.device.type, enabled=False):
                if self.choice is None:
                    cond = {
                        name: value.expand(len(rows), *value.shape[1:]) for name, value in conditioner.null().items()
                    }
                else:
                    # a conditioner of a user's own that takes no images need not know of their noise
                    noise = {} if self.condition_noise is None else {"noise": self.condition_noise}
                    cond = conditioner(conditioner.inputs_of_rows(self.choice, rows, model.device, **noise))
                return cond, conditioner.unconditional(cond)

        if denoiser.conditioner is not None:
            cond, null_cond = conditions_of(denoiser.conditioner)
        if self.guidance.acts:
            labels, like = self.labels_of_rows(rows), next(model.network.parameters())
            labels = None if labels is None else labels.to(model.device)
            own, own_null = self.guidance.entries(conditions_of, labels, like)
            if own:
                denoiser = OwnEntries(denoiser)
                cond, null_cond = {**(cond or {}), **own}, {**(null_cond or {}), **own_null}
            denoiser = self.guidance.guided(denoiser, null_cond)
        return denoiser, cond, BlockGenerator(self.seed, rows.start, len(rows), model.device)

    def stepwise(self, model: DiffusionModel, states: Iterator[SamplerState]) -> Iterator[SamplerState]:
        """Yield these states, each of them computed in eval mode, without gradients, and in this precision."""
        denoiser = model.denoiser_of(self.weights)
        while True:
            # entered anew for each step, so that the caller's code between two steps runs in the caller's own mode
            with sampling_mode(denoiser), self._autocast(model.device):
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
        """Draw images `rows` of the seed's endless list.

        Args:
            model: the model.
            rows: which images.
            batch_size: images at a time, or None for 128. The images do not depend on it.
            progress: show a progress bar.

        Returns:
            Floating-point images (len(rows), C, H, W) in [-1, 1], on the model's device.

        Raises:
            ValueError: `batch_size` is below 1.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: 1 or more is expected")
        parts = batches(rows, batch_size)
        finished = [
            model.codec.decode(torch.empty((0, *model.image_shape), device=model.device, dtype=model.float_dtype))
        ]
        with show_progress("drawing samples", len(parts) * self.num_steps, shown=progress) as task:
            finished += [model.codec.decode(last_state(self.trajectory(model, part), task).x_t) for part in parts]
        return torch.cat(finished)


@contextmanager
def sampling_mode(denoiser: nn.Module) -> Iterator[None]:
    """Put a denoiser into eval mode (BatchNorm, dropout) without gradients; give each module its own mode back afterwards."""
    # one by one instead of by `denoiser.eval()`: this runs at each step, when nearly all modules are in eval mode already
    training = [module for module in denoiser.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True
