"""Playable: a trained model with what the page has to know of it, so that every choice on the page comes from the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lightdiff.commands.trained import naming_path
from lightdiff.conditioning import InpaintMask
from lightdiff.conditioning.base import Conditioner
from lightdiff.config.trust import NOBODY, Trust
from lightdiff.core import FewStepObjective
from lightdiff.data import ImageStore
from lightdiff.jobs.described import data_of
from lightdiff.model import DiffusionModel, find_checkpoint, load_identified
from lightdiff.samplers import SAMPLERS, noiseless
from lightdiff.utils.files import user_path

USUAL_STEPS = 50
"""Steps of the sampler that the page begins with."""
FEW_STEPS = 2
"""The same for a model that was trained for few steps."""


@dataclass
class Playable:
    """A loaded model.

    Args:
        path: the checkpoint, run folder or exported folder, as it was typed.
        checkpoint: the file that was read.
        model: the model.
        data_dir: the user's folder with the training images; None: the usual one.
        trust: whose classes the run may name beside lightdiff's own.
    """

    path: str
    checkpoint: Path
    model: DiffusionModel
    data_dir: str | None = None
    trust: Trust = field(default_factory=lambda: NOBODY)
    _training_images: ImageStore | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The end of the path, such as mnist/version_3."""
        return "/".join(user_path(self.path).parts[-2:])

    @property
    def takes(self) -> tuple[str, ...]:
        """What a user can ask for: any of labels, prompt and condition; () for an unconditional model."""
        return () if self.model.conditioning is None else self.model.conditioning.takes

    @property
    def columns(self) -> Mapping[str, Sequence[str]]:
        """The columns of attributes with the names of their values; empty where the model knows none."""
        found = (getattr(part, "columns", None) for part in self._parts())
        return next((columns for columns in found if isinstance(columns, Mapping)), {})

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class that can be asked for; () where the model knows no classes."""
        if "labels" not in self.takes or self.columns:
            return ()
        assert self.model.conditioning is not None
        return tuple(self.model.class_names) or self.model.conditioning.names_of_labels

    @property
    def guidance_acts(self) -> bool:
        """Whether classifier-free guidance can change what this model draws."""
        return self.model.conditioning is not None and self.model.conditioning.guidance_acts

    @property
    def condition_shape(self) -> tuple[int, int, int] | None:
        """The shape (C', h, w) of a condition image; None for a model that takes none."""
        if "condition" not in self.takes:
            return None
        assert self.model.conditioning is not None
        return self.model.conditioning.condition_shape

    @property
    def usual_steps(self) -> int:
        """Steps of the sampler that the page begins with."""
        return FEW_STEPS if isinstance(self.model.objective, FewStepObjective) else USUAL_STEPS

    @property
    def fills_holes(self) -> bool:
        """Whether the model was trained to fill the holes of its condition image."""
        return isinstance(self.model.conditioning, InpaintMask)

    def described(self) -> str:
        """Return a line that says what the model draws."""
        channels, height, width = self.model.image_shape
        count = sum(parameter.numel() for parameter in self.model.network.parameters())
        asked = ", ".join([*self.columns, *(name for name in self.takes if not self.columns or name != "labels")])
        return (
            f"{self.path}: {height}x{width} pixels, {'gray' if channels == 1 else f'{channels} channels'}, "
            f"{count / 1e6:.1f} million parameters, {f'takes {asked}' if asked else 'unconditional'}"
        )

    def samplers(self, *, without_noise: bool = False) -> list[str]:
        """Return the names of the samplers that fit this model.

        Args:
            without_noise: leave out the samplers that add noise on the way.
        """
        names = noiseless() if without_noise else list(SAMPLERS)
        return [name for name in names if self._fits(name)]

    def training_images(self) -> ImageStore:
        """Return the images that the model was trained on; they are read when they are first asked for, and kept.

        Nothing is downloaded.

        Raises:
            ConfigError: the data set is unknown, or its images can be anywhere and `data_dir` is None.
            DataError: the images are not there, or cannot be read.
        """
        if self._training_images is None:
            # only the tab that shows neighbours needs the sources of data sets
            from lightdiff.data.download import nothing_downloaded

            data = data_of(self.checkpoint, self.model, self.data_dir, self.trust)
            with nothing_downloaded():
                data.setup()
            self._training_images = data.train_set
        return self._training_images

    def _parts(self) -> Sequence[Conditioner]:
        conditioner = self.model.conditioning
        return () if conditioner is None else (conditioner, *getattr(conditioner, "parts", {}).values())

    def _fits(self, name: str) -> bool:
        try:
            SAMPLERS[name]().check(self.model.schedule, noise=self.model.objective.noise)
        except ValueError:
            return False
        return True


def load_playable(path: str, weights: str, device: torch.device, trust: Trust, data_dir: str | None) -> Playable:
    """Load the model at `path`, as `load_model` does.

    Raises:
        CheckpointError: one line that names ckpt_path.
    """
    with naming_path("ckpt_path", path):
        checkpoint = find_checkpoint(path)
        model, _ = load_identified(checkpoint, weights=weights, map_location=device, trust=trust)  # type: ignore[arg-type]
    return Playable(path, checkpoint, model, data_dir, trust)


def names_of(playables: Sequence[Playable]) -> list[str]:
    """Return a short name for each model, or its whole path where two would have the same."""
    names = [playable.name for playable in playables]
    return names if len({*names}) == len(names) else [playable.path for playable in playables]
