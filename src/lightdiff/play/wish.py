"""Wish: what a visitor of the page has asked for, and the settings of sampling that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightdiff.commands.edit import unaimed
from lightdiff.config.instantiate import ConfigError
from lightdiff.model import Generation
from lightdiff.play.playable import Playable

MOST_IMAGES = 64
"""Images that can be drawn at once."""
MOST_STEPS = 1000
"""Steps that a sampler can be given."""
MOST_LETTERS = 1000
"""Letters of a prompt."""
LARGEST_SEED = 2**31 - 1
"""The seeds are 0 to this number."""


@dataclass(frozen=True)
class Wish:
    """Settings of a drawing. What the model cannot take is left out.

    Args:
        sampler: name of the sampler.
        num_steps: its steps, 1 to `MOST_STEPS`.
        seed: key of the noise, 0 to `LARGEST_SEED`.
        guidance_scale: strength of classifier-free guidance; 1: off.
        label: name of a class; None: each class in turn, or none where `aimed` is False.
        attributes: column -> name of its value; columns that are not in it are left open.
        prompt: a caption; "": none.
        condition: a condition image, uint8 (C', h, w), or None.
    """

    sampler: str = "ddim"
    num_steps: int = 50
    seed: int = 0
    guidance_scale: float = 1.0
    label: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    prompt: str = ""
    condition: Tensor | None = None

    def generation(self, playable: Playable, count: int, *, aimed: bool = True) -> Generation:
        """Return the settings of sampling, checked against the model.

        Args:
            playable: the model.
            count: images that will be drawn, 1 to `MOST_IMAGES`.
            aimed: whether images without a class, caption or attribute show each class in turn. Otherwise they get the null
                condition.

        Raises:
            ConfigError: one line with the setting, its value and what is expected.
            ValueError: likewise, for what the model refuses.
        """
        within("images", count, 1, MOST_IMAGES)
        within("steps", self.num_steps, 1, MOST_STEPS)
        within("seed", self.seed, 0, LARGEST_SEED)
        within("letters of the prompt", len(self.prompt), 0, MOST_LETTERS)
        asked = self._asked(playable)
        generation = Generation.of(
            playable.model,
            num_samples=count,
            sampler=self.sampler,
            num_steps=self.num_steps,
            guidance_scale=self.guidance_scale if playable.guidance_acts else 1.0,
            seed=self.seed,
            **asked,
        )
        return generation if aimed else unaimed({"labels": None, "prompt": None, **asked}, generation)

    def _asked(self, playable: Playable) -> dict[str, Any]:
        """Return the arguments of `Generation.of` for what is aimed at."""
        asked: dict[str, Any] = {}
        if playable.class_names and self.label is not None:
            if self.label not in playable.class_names:
                raise ConfigError(f"class={self.label}: choices: {', '.join(playable.class_names)}")
            asked["labels"] = [playable.class_names.index(self.label)]
        if playable.columns and self.attributes:
            asked["labels"] = [dict(self.attributes)]
        if "prompt" in playable.takes and self.prompt.strip():
            asked["prompt"] = [self.prompt.strip()]
        shape = playable.condition_shape
        if shape is not None:
            if self.condition is None:
                height, width = shape[1:]
                raise ConfigError(f"condition: this model needs a picture of {height}x{width}; put one in")
            asked["condition"] = self.condition[None]
        return asked


def within(name: str, value: float, lowest: float, highest: float) -> None:
    """Refuse a number that is out of its range, whoever has sent it.

    Raises:
        ConfigError: one line with the name, the value and the range.
    """
    if not lowest <= value <= highest:
        raise ConfigError(f"{name}={value:g}: {lowest:g} to {highest:g} is expected")
