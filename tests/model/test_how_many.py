"""How many images, steps and labels can be asked for from Python; whatever would be left out is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightdiff import DiffusionModel
from lightdiff.config.build import build_model
from lightdiff.core import FlowSchedule
from lightdiff.samplers import DDIM, SAMPLERS, encode, image_to_image, interpolate
from runs import tiny


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return build_model(tiny("conditioning=label")).eval()


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"num_samples": -1}, "num_samples=-1: 1 or more is expected"),
    ({"num_samples": 0}, "num_samples=0: 1 or more is expected"),
    ({"labels": [1, 2, 3]}, r"num_samples=2: 3 or more is expected, one for each of labels=\[1, 2, 3\]"),
    ({"labels": torch.arange(3)}, "num_samples=2: 3 or more is expected, one for each of labels="),
    ({"labels": ["0", "1", "2"]}, "num_samples=2: 3 or more is expected, one for each of labels="),
    ({"prompt": ["0", "1", "2"]}, "num_samples=2: 3 or more is expected, one for each of prompt="),
    ({"labels": []}, r"labels=\[\]: at least one is expected"),
    ({"prompt": []}, r"prompt=\[\]: at least one is expected"),
    ({"labels": True}, r"labels=True: .*0\.\.9"),
    ({"labels": [None, 1]}, r"labels=\[None, 1\]: .*0\.\.9"),
    ({"num_steps": 0}, "num_steps=0: 1 or more is expected"),
    ({"num_steps": -2}, "num_steps=-2: 1 or more is expected"),
    ({"num_steps": 1.5}, "num_steps=1.5: a whole number is expected"),
    ({"guidance_scale": math.nan}, "guidance_scale=nan: a finite number is expected"),
    ({"guidance_scale": -math.inf}, "guidance_scale=-inf: a finite number is expected"),
]


@pytest.mark.parametrize(("settings", "message"), IMPOSSIBLE, ids=lambda value: str(value))
def test_what_cannot_be_drawn_is_refused(model: DiffusionModel, settings: dict[str, Any], message: str) -> None:
    for draw in (model.sample, model.trajectory):
        with pytest.raises(ValueError, match=message):
            draw(**{"num_samples": 2, "num_steps": 2, **settings})


@pytest.mark.parametrize("batch_size", [0, -1])
def test_an_impossible_batch_size_is_refused(model: DiffusionModel, batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size={batch_size}: 1 or more is expected"):
        model.sample(2, num_steps=2, batch_size=batch_size)


@pytest.mark.parametrize(("labels", "shown"), [(None, [0, 1, 2, 3]), ([7, 2], [7, 2, 7, 2]), ("5", [5, 5, 5, 5])])
def test_labels_are_shown_in_turn_where_there_are_fewer_than_images(
    model: DiffusionModel, labels: Any, shown: list[int]
) -> None:
    images = model.sample(4, labels=labels, num_steps=2, seed=0)
    torch.testing.assert_close(images, model.sample(4, labels=shown, num_steps=2, seed=0))


def test_a_trajectory_without_a_seed_differs(model: DiffusionModel) -> None:
    first, second = (next(model.trajectory(1, num_steps=2, seed=None)).x_t for _ in range(2))
    assert not torch.equal(first, second)


def zeros(x_t: Tensor, t: Tensor, cond: Any = None) -> Tensor:
    """A denoiser that sees nothing."""
    return torch.zeros_like(x_t)


zeros.schedule = FlowSchedule()  # type: ignore[attr-defined]
X = torch.zeros(1, 1, 4, 4)


@pytest.mark.parametrize("num_steps", [0, -1])
@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("grid", [None, lambda schedule, num_steps: torch.linspace(1, 0, max(num_steps, 0) + 1)])
def test_samplers_of_no_steps_are_refused(sampler: str, num_steps: int, grid: Callable | None) -> None:
    made = SAMPLERS[sampler](grid=grid)
    uses = {
        "sample": lambda: made.sample(zeros, X, num_steps),
        "trajectory": lambda: next(made.trajectory(zeros, X, num_steps)),
        "encode": lambda: encode(made, zeros, X, num_steps),
        "interpolate": lambda: interpolate(made, zeros, X, X, 2, num_steps),
        "image_to_image": lambda: image_to_image(made, zeros, X, 0.5, num_steps),
        "check": lambda: made.check(zeros.schedule, num_steps),  # type: ignore[attr-defined]
    }
    for use in uses.values():
        with pytest.raises(ValueError, match=f"num_steps={num_steps}: 1 or more is expected"):
            use()


def test_a_strength_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="strength=nan"):
        image_to_image(DDIM(), zeros, X, math.nan, 4)
