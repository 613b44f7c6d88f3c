"""The trained models that take part in guidance: where they are found, and whether they fit the model that draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightdiff.config.describe import config_of
from lightdiff.config.trust import NOBODY, Trust
from lightdiff.core import Denoiser, NoisyClassifier, PixelCodec
from lightdiff.model.errors import CheckpointError
from lightdiff.model.noisy_classifier import load_noisy_classifier
from lightdiff.model.sampling import Weights
from lightdiff.model.takeover import load_fitting
from lightdiff.utils.files import user_path
from lightdiff.utils.text import listed

if TYPE_CHECKING:
    from lightdiff.model.model import DiffusionModel


@dataclass(frozen=True)
class GuideFiles:
    """The files that a guidance may name, as the `Guides` of a model.

    Args:
        model: the model that draws.
        trust: whose classes the files may name beside lightdiff's own.
        beside: folder of the model's own checkpoint, in which a bare file name such as epoch_0010.ckpt is looked for as well.
            None: nowhere else.
    """

    model: DiffusionModel
    trust: Trust = NOBODY
    beside: Path | None = None

    def denoiser(self, key: str, path: str, weights: Weights) -> Denoiser:
        """Return a trained denoiser that draws the same images of the same condition as the model.

        Args:
            key: configuration key that names it.
            path: run folder, checkpoint or exported model, or the name of a checkpoint beside the model's own.
            weights: "ema" or "raw".

        Raises:
            CheckpointError: it cannot be loaded or does not fit; one line that begins with the key.
        """
        weak = load_fitting(key, self._found(path), self.model, weights, self.trust)
        if self.model.trained.takes_s and not weak.trained.takes_s:
            raise CheckpointError(
                f"{key}={path}: it knows no second time s, and this model has one; choose a model with model.takes_s=true"
            )
        return weak.denoiser

    def classifier(self, key: str, path: str) -> NoisyClassifier:
        """Return a classifier of noisy images that reads the model's images and knows its classes.

        Args:
            key: configuration key that names it.
            path: its .safetensors file.

        Raises:
            CheckpointError: it cannot be loaded or does not fit; one line that begins with the key.
        """
        try:
            classifier = load_noisy_classifier(path)
        except CheckpointError as error:
            raise CheckpointError(f"{key}={error}") from error
        model = self.model
        if config_of(model.codec) != config_of(PixelCodec()):
            name = type(model.codec).__name__
            raise CheckpointError(
                f"{key}={path}: it reads pixels, and this model draws {name}'s x0; choices: codec=pixels"
            )
        if classifier.image_shape != model.image_shape:
            theirs, ours = ("x".join(map(str, shape)) for shape in (classifier.image_shape, model.image_shape))
            raise CheckpointError(
                f"{key}={path}: its images are {theirs} (channels, height, width), and those of this model {ours}"
            )
        if model.conditioning is not None and classifier.class_names != model.class_names:
            theirs, ours = (listed(names) or "unknown" for names in (classifier.class_names, model.class_names))
            raise CheckpointError(f"{key}={path}: its classes are {theirs}, and those of this model {ours}")
        return classifier

    def _found(self, path: str) -> str | Path:
        beside = None if self.beside is None or Path(path).name != path else self.beside / path
        return path if beside is None or user_path(path).exists() or not beside.is_file() else beside
