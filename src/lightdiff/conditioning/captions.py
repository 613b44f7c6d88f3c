"""Captions of labelled images: a template, such as "A handwritten digit {}", filled with the name of the class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Captions:
    """Every caption a data set can have: each of C class names in each of T templates.

    Args:
        class_names: names of the labels 0, 1, ...
        templates: texts with one {} each.

    Raises:
        ValueError: no names, no templates, or a template without {}.
    """

    def __init__(self, class_names: Sequence[str], templates: Sequence[str]) -> None:
        if not class_names or not templates:
            raise ValueError(
                "class_names, templates: a data set with captions is needed (dataset.class_names, .templates)"
            )
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"templates={template!r}: a text with one {{}} for the class is expected")
        self.num_templates = len(templates)
        self.texts = [template.replace("{}", name) for name in class_names for template in templates]

    def numbers(self, labels: Tensor, chance: Tensor) -> Tensor:
        """Numbers of captions in `texts` (B,) for labels (B,), the template chosen by `chance` (B,), uniform in [0, 1)."""
        return labels * self.num_templates + (chance * self.num_templates).long().clamp(max=self.num_templates - 1)

    def first_of(self, labels: Tensor) -> Tensor:
        """Numbers of the captions with the first template."""
        return self.numbers(labels, torch.zeros(len(labels), device=labels.device))


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation."""
    return "".join(c if c.isalnum() or c in "-'/" else " " for c in text.lower()).split()
