"""The tasks of edit.py: what is done with the given images. A new task is one class here and one YAML file in conf/task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightdiff.model import DiffusionModel, Generation
from lightdiff.samplers import (
    SamplerState,
    encode,
    image_to_image_trajectory,
    inpaint_trajectory,
    noiseless,
    slerp,
)
from lightdiff.samplers.inpainting import check_resamples
from lightdiff.samplers.uses import remaining_times


@dataclass(frozen=True)
class Given:
    """What is edited.

    Args:
        images: images (K, C, H, W) in the model's value_range, on its device.
        count: number of results.
        mask: (1, 1, H, W), 1 at pixels to generate and 0 at pixels to keep, or None.
    """

    images: Tensor
    count: int
    mask: Tensor | None = None

    def of_rows(self, rows: range) -> Tensor:
        """Return the given image of each result in `rows`: result i comes from image i modulo K."""
        return self.images[torch.arange(rows.start, rows.stop) % len(self.images)]


class EditTask(ABC):
    """Base class of the tasks."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the task as it is in conf/task, such as image_to_image."""
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__).lstrip("_")

    takes_mask: ClassVar[bool] = False
    """Whether the task needs a mask; the others take none."""
    gives_noise: ClassVar[bool] = False
    """Whether the noise x_T that the sampler starts from is a result too."""

    def count(self, given: int, num_samples: int | None) -> int:
        """Return the number of results for so many given images.

        Args:
            given: number of images, 1 or more.
            num_samples: number that is asked for, or None.

        Raises:
            ValueError: a number that the task cannot make, or of images that it cannot take.
        """
        if num_samples is not None and num_samples < given:
            raise ValueError(f"num_samples={num_samples}: {given} or more is expected, one for each given image")
        return num_samples or given

    def check(self, generation: Generation, model: DiffusionModel) -> None:
        """Refuse settings of sampling that do not fit the task.

        Raises:
            ValueError: one line with the setting, its value and the choices.
        """

    @abstractmethod
    def trajectory(
        self, model: DiffusionModel, generation: Generation, given: Given, rows: range
    ) -> Iterator[SamplerState]:
        """Yield the sampler's states, from noise to the results `rows`.

        Args:
            model: the model.
            generation: how its images are drawn.
            given: what is edited.
            rows: which results; with n of them, x_t of each state is (n, C, H, W).
        """


@dataclass(frozen=True)
class Inpaint(EditTask):
    """Generate anew what is white in the mask; see `inpaint`.

    Args:
        resamples: how often each step is made, 1 or more. More of them fit the new pixels better to the others.
    """

    resamples: int = 5

    takes_mask: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_resamples(self.resamples, None)

    def check(self, generation: Generation, model: DiffusionModel) -> None:
        check_resamples(self.resamples, model.objective.noise)
        if generation.sampler.dynamic_threshold is not None:
            raise ValueError(
                f"sampler.dynamic_threshold={generation.sampler.dynamic_threshold}: it would change the pixels that are kept; "
                f"choices for task={self.name()}: null"
            )

    def trajectory(
        self, model: DiffusionModel, generation: Generation, given: Given, rows: range
    ) -> Iterator[SamplerState]:
        assert given.mask is not None
        denoiser, cond, generator = generation.parts(model, rows)
        yield from inpaint_trajectory(
            generation.sampler,
            denoiser,
            given.of_rows(rows),
            given.mask,
            generation.num_steps,
            cond,
            generator,
            model.objective.noise,
            resamples=self.resamples,
        )


@dataclass(frozen=True)
class ImageToImage(EditTask):
    """Generate images similar to the given ones; see `image_to_image`.

    Args:
        strength: time in (0, 1] up to which noise is added. Small values change little, 1 keeps next to nothing.
    """

    strength: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength={self.strength}: a number above 0 and at most 1 is expected")

    def check(self, generation: Generation, model: DiffusionModel) -> None:
        try:
            remaining_times(generation.sampler, model.schedule, self.strength, generation.num_steps)
        except ValueError as error:
            raise ValueError(f"task.{error}") from error

    def trajectory(
        self, model: DiffusionModel, generation: Generation, given: Given, rows: range
    ) -> Iterator[SamplerState]:
        denoiser, cond, generator = generation.parts(model, rows)
        yield from image_to_image_trajectory(
            generation.sampler,
            denoiser,
            given.of_rows(rows),
            self.strength,
            generation.num_steps,
            cond,
            generator,
            model.objective.noise,
        )


class Encode(EditTask):
    """Find the noise from which the sampler generates the given images, and generate them from it; see `encode`."""

    gives_noise: ClassVar[bool] = True

    def check(self, generation: Generation, model: DiffusionModel) -> None:
        _refuse_added_noise(generation, self)

    def trajectory(
        self, model: DiffusionModel, generation: Generation, given: Given, rows: range
    ) -> Iterator[SamplerState]:
        x_T = _encoded(model, generation, given.of_rows(rows), rows)
        denoiser, cond, generator = generation.parts(model, rows)
        yield from generation.sampler.trajectory(denoiser, x_T, generation.num_steps, cond, generator)


class Interpolate(EditTask):
    """Generate a row of images that changes gradually from one given image into the other; see `interpolate`."""

    usual_count: ClassVar[int] = 8
    """Number of images in the row, with both ends, where none is asked for."""

    def count(self, given: int, num_samples: int | None) -> int:
        if given != 2:
            raise ValueError(f"image: 2 images are expected for task={self.name()}, {given} found")
        return super().count(given, num_samples or self.usual_count)

    def check(self, generation: Generation, model: DiffusionModel) -> None:
        _refuse_added_noise(generation, self)

    def trajectory(
        self, model: DiffusionModel, generation: Generation, given: Given, rows: range
    ) -> Iterator[SamplerState]:
        # the two ends, each under the condition of its own result
        last = given.count - 1
        first_x_T = _encoded(model, generation, given.images[:1], range(1))
        second_x_T = _encoded(model, generation, given.images[1:], range(last, last + 1))
        x_T = torch.cat([slerp(first_x_T, second_x_T, row / last) for row in rows])
        denoiser, cond, generator = generation.parts(model, rows)
        yield from generation.sampler.trajectory(denoiser, x_T, generation.num_steps, cond, generator)


def _encoded(model: DiffusionModel, generation: Generation, images: Tensor, rows: range) -> Tensor:
    """Return the x_T (n, C, H, W) of images (n, C, H, W) under the condition of the results `rows`."""
    denoiser, cond, _ = generation.parts(model, rows)
    return encode(generation.sampler, denoiser, images, generation.num_steps, cond)


def _refuse_added_noise(generation: Generation, task: EditTask) -> None:
    added = generation.sampler.added_noise
    if added is not None:
        key = added if added.startswith("sampler=") else f"sampler.{added}"
        raise ValueError(
            f"{key}: task={task.name()} needs a sampler that adds no noise; choices: sampler={', '.join(noiseless())}, with "
            "their usual settings"
        )
