"""Captions of images: templates filled with the name of the class, or texts of the images' own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightdiff.conditioning.base import Conditioner, Labels, check_labels, chosen_labels

EXAMPLES = 64
"""Largest number of captions that are kept as examples."""
Encode = Callable[[Sequence[str]], Tensor]
"""Function from K texts to what a conditioner takes, (K, ...)."""


class Captions(ABC):
    """Where the captions of a batch come from.

    A conditioner encodes `texts` once and keeps the result as a table (len(texts), ...).
    """

    takes: tuple[str, ...]
    """What a user can ask for when sampling."""
    texts: list[str]
    """Captions that are known before any batch; without a prompt, samples show some of them."""
    class_names: list[str] | None
    """Names of the labels 0, 1, ... that can be asked for; None: no labels."""

    @abstractmethod
    def of_batch(self, batch: dict[str, Any], chance: Tensor, table: Tensor, encode: Encode) -> Tensor:
        """Return the encoded captions (B, ...) of a batch.

        Args:
            batch: a batch of the data set.
            chance: uniform in [0, 1), (B,).
            table: the encoded `texts`.
            encode: encodes other texts.
        """

    @abstractmethod
    def asked(self, labels: Labels) -> list[int]:
        """Return the numbers, in `texts`, of the captions of labels that a user asks for; None: of all there are.

        Raises:
            ValueError: labels that cannot be had.
        """

    @abstractmethod
    def check(self, batch: dict[str, Any], conditioner: Conditioner) -> None:
        """Check what `of_batch` reads of a batch.

        Raises:
            ValueError: one line with the part of the batch and what is expected.
        """


class TemplateCaptions(Captions):
    """Every caption a data set can have: each of C class names in each of T templates.

    Args:
        class_names: names of the labels 0, 1, ...
        templates: texts with one {} each.

    Raises:
        ValueError: no names, no templates, or a template without {}.
    """

    takes = ("labels", "prompt")

    def __init__(self, class_names: Sequence[str], templates: Sequence[str]) -> None:
        if not class_names or not templates:
            raise ValueError(
                "class_names, templates: a data set with captions is needed (dataset.class_names, .templates)"
            )
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"templates={template!r}: a text with one {{}} for the class is expected")
        self.class_names: list[str] = list(class_names)
        self.num_templates = len(templates)
        self.texts = [template.replace("{}", name) for name in class_names for template in templates]

    def numbers(self, labels: Tensor, chance: Tensor) -> Tensor:
        """Numbers of captions in `texts` (B,) for labels (B,), the template chosen by `chance` (B,), uniform in [0, 1)."""
        return labels * self.num_templates + (chance * self.num_templates).long().clamp(max=self.num_templates - 1)

    def first_of(self, labels: Tensor) -> Tensor:
        """Numbers of the captions with the first template."""
        return self.numbers(labels, torch.zeros(len(labels), device=labels.device))

    def of_batch(self, batch: dict[str, Any], chance: Tensor, table: Tensor, encode: Encode) -> Tensor:
        return table[self.numbers(batch["label"], chance)]

    def asked(self, labels: Labels) -> list[int]:
        return self.first_of(chosen_labels(labels, len(self.class_names), self.class_names)).tolist()

    def check(self, batch: dict[str, Any], conditioner: Conditioner) -> None:
        check_labels(batch.get("label"), len(batch["image"]), conditioner)


class OwnCaptions(Captions):
    """Captions that the images have themselves: `batch["caption"]`, a list of B texts.

    Args:
        examples: captions that samples show where no prompt is given; None: the empty caption.
    """

    takes = ("prompt",)
    class_names = None

    def __init__(self, examples: Sequence[str] | None) -> None:
        self.texts = list(examples or [""])

    def of_batch(self, batch: dict[str, Any], chance: Tensor, table: Tensor, encode: Encode) -> Tensor:
        return encode(batch["caption"]).to(table.device, non_blocking=True)

    def asked(self, labels: Labels) -> list[int]:
        if labels is not None:
            raise ValueError(f"labels={labels}: this model was trained on captions; ask for them with prompt=...")
        return list(range(len(self.texts)))

    def check(self, batch: dict[str, Any], conditioner: Conditioner) -> None:
        rows, captions = len(batch["image"]), batch.get("caption")
        name = type(conditioner).__name__
        if captions is None:
            raise ValueError(f"caption=None: {name} needs the captions of the images, a list of {rows} texts")
        if not isinstance(captions, list | tuple) or not all(isinstance(text, str) for text in captions):
            raise ValueError(f"caption={type(captions).__name__}: a list of {rows} texts is expected")
        if len(captions) != rows:
            raise ValueError(f"caption=list of {len(captions)}: {rows} texts are expected, one for each image")


def captions_of(
    class_names: Sequence[str] | None, templates: Sequence[str] | None, examples: Sequence[str] | None
) -> Captions:
    """Return the captions that a conditioner reads: those of the images themselves where there are no templates.

    Raises:
        ValueError: templates without names of classes, or a template without {}.
    """
    return OwnCaptions(examples) if templates is None else TemplateCaptions(class_names or (), templates)


def prompts(labels: Labels, prompt: str | Sequence[str]) -> list[str]:
    """Return the texts of a prompt, one or several.

    Raises:
        ValueError: labels are asked for as well.
    """
    if labels is not None:
        raise ValueError(f"labels={labels}: not together with prompt={prompt}")
    return [prompt] if isinstance(prompt, str) else list(prompt)


def check_longest(sizes: Mapping[str, int], max_tokens: int, unit: str) -> None:
    """Refuse captions that are longer than a conditioner takes.

    Args:
        sizes: caption -> its number of words or tokens.
        max_tokens: the largest number.
        unit: what is counted, in the plural.

    Raises:
        ValueError: one line with the longest caption.
    """
    longest = max(sizes, key=sizes.__getitem__, default="")
    if sizes and sizes[longest] > max_tokens:
        raise ValueError(
            f"max_tokens={max_tokens}: {sizes[longest]} or more is expected, for the longest caption has so many {unit}: "
            f"{longest!r}"
        )


def examples_of(train: Sequence[str], val: Sequence[str]) -> list[str]:
    """Return at most `EXAMPLES` different captions of images to validate on, evenly spread, that training has not seen.

    They consist of words of the training captions in combinations that training lacks. Where there are none such, they are
    training captions.
    """
    known = {word for text in train for word in words(text)}
    seen = {frozenset(words(text)) for text in train}
    new = [text for text in dict.fromkeys(val) if words(text) and frozenset(words(text)) not in seen]
    new = [text for text in new if known.issuperset(words(text))] or [
        text for text in dict.fromkeys(train) if words(text)
    ]
    count = min(EXAMPLES, len(new))
    return [new[len(new) * i // count] for i in range(count)]


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation."""
    return "".join(c if c.isalnum() or c in "-'/" else " " for c in text.lower()).split()
