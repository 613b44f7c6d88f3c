"""The recipes that the parts train, in full and in a dry run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from gpu_parts.task import Task
from lightdiff.config.instantiate import instantiate
from parts.ours import composed
from parts.peak import Operations, operations

TINY = (*("dataset=digits", "dataset.image_size=16", "dataset.resize_mode=resize", "dataset.batch_size=8"),)
"""Data of a dry run, for all recipes."""
TINY_RESUNET = ("model.widths=[8,8]", "model.num_heads=1", "model.blocks_per_level=1")


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Args:
        title: as tables name it.
        overrides: of train.py.
        tiny: overrides that make its network small for a dry run.
    """

    title: str
    overrides: tuple[str, ...]
    tiny: tuple[str, ...]

    def composed(self, task: Task, *overrides: str) -> dict[str, Any]:
        """Return the configuration on the task's device, with more overrides."""
        tiny = (*TINY, *self.tiny) if task.sizes.dry else ()
        return composed(task.settings, *self.overrides, *tiny, *overrides)


RECIPES = {
    "cifar_gpu": Recipe("experiment=cifar_gpu", ("experiment=cifar_gpu",), TINY_RESUNET),
    "tutorial": Recipe("python train.py", (), ("model.widths=[8,8,16,16]",)),
    "tutorial, large": Recipe("python train.py", ("dataset.batch_size=1024",), ("model.widths=[8,8,16,16]",)),
    "dit": Recipe(
        "model=dit",
        (
            *("dataset=cifar", "model=dit", "schedule=flow", "objective=flow", "conditioning=label", "sampler=ddim"),
            *("optimizer=adamw", "dataset.batch_size=512"),
        ),
        ("model.width=16", "model.depth=1", "model.num_heads=2"),
    ),
    "mnist_fast": Recipe("experiment=mnist_fast", ("experiment=mnist_fast",), TINY_RESUNET),
}


def operations_of(config: dict[str, Any]) -> Operations:
    """Count the network of a configuration: its parameters, and its operations an image; nothing is computed."""
    network = config["model"]
    size = network["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return operations(partial(instantiate, network, key="model"), (network["channels"], height, width))
