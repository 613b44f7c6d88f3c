"""SamplingModel: a model that draws images, with a trained denoiser that its subclass provides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor

from lightdiff.conditioning.base import Labels
from lightdiff.core import Guidance
from lightdiff.model.asked import Images
from lightdiff.model.generation import Generation
from lightdiff.model.stored import StoredModel
from lightdiff.samplers import Sampler, SamplerState

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel

Weights = Literal["ema", "raw"]


def check_weights(weights: str) -> None:
    """Refuse a name that is not one of `Weights`.

    Raises:
        ValueError: one line with the name and the choices.
    """
    if weights not in get_args(Weights):
        raise ValueError(f"weights={weights}: choices: {', '.join(get_args(Weights))}")


class SamplingModel(StoredModel):
    """Base of `DiffusionModel`: how images are drawn."""

    def sample(  # type: ignore[misc]
        self: DiffusionModel,
        num_samples: int,
        *,
        sampler: str | Sampler = "ddim",
        num_steps: int | None = 50,
        guidance_scale: float | None = None,
        guidance: Guidance | Mapping[str, Any] | None = None,
        labels: Labels = None,
        prompt: str | Sequence[str] | None = None,
        condition: Images = None,
        condition_noise: float | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        progress: bool = False,
        weights: Weights = "ema",
    ) -> Tensor:
        """Draw images.

        Args:
            num_samples: number of images, 1 or more.
            sampler: a `Sampler`, or its name (ddpm, ddim, heun, dpmpp_2m, dpmpp_3m, dpmpp_2m_sde, renoise), which then clips
                x0_hat.
            num_steps: steps of the sampler, or None for every timestep of a discrete schedule and 1000 steps of any other.
            guidance_scale: 1 plainly conditional, 0 unconditional, above 1 guided; None for the scale of `guidance`, or 1.
            guidance: such as `ClassifierFree(2.0, interval=(0.2, 0.8))` or {"scale": 2.0, "rescale": 0.7}; None: classifier-free.
            labels: class of each image, number or name, or several to show in turn; None: every class in turn.
            prompt: caption of each image, or several to show in turn (text-conditional models).
            condition: images on which the samples are conditioned in turn (image-conditional models): an image file, a folder of
                images, several of these, or uint8 (K, C', h, w). Files are cut and scaled to the shape (C', h, w), which is
                `model.conditioning.condition_shape`, such as that of the small images for super-resolution.
            condition_noise: level of the noise that is mixed into the condition images, from 0 to the `augmentation` of the
                training, or None for the conditioner's own `augmentation_level`.
            seed: the same seed gives the same images whatever the batch size; None gives different ones at every call.
            batch_size: images at a time, or None for 128.
            progress: show a progress bar.
            weights: "ema" for the averaged weights (the raw ones as long as there is no average), or "raw".

        Returns:
            Floating-point images (num_samples, C, H, W) in [-1, 1].

        Raises:
            ValueError: a number out of its range, more labels, prompts or conditions than images, a file that cannot be read, or
                a setting that this model cannot have.
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
            condition=condition,
            condition_noise=condition_noise,
            seed=seed,
            weights=weights,
        ).images(self, range(num_samples), batch_size=batch_size, progress=progress)

    def trajectory(self: DiffusionModel, num_samples: int, **settings: Any) -> Iterator[SamplerState]:  # type: ignore[misc]
        """Yield the states of a sampling run, from noise to images, for pictures of the process; arguments as for `sample`."""
        generation = Generation.of(self, num_samples=num_samples, **{"seed": None, **settings})
        return generation.trajectory(self, range(num_samples))
