"""The loop that every sampling run goes through: sample.py, edit.py, the pictures while training, and `sample` in Python."""

from __future__ import annotations

import pytest
import torch

from lightdiff.model.loop import batches, last_state
from lightdiff.samplers import SamplerState
from lightdiff.utils.progress import Task


def states(num_steps: int) -> list[SamplerState]:
    return [
        SamplerState(torch.full((1,), float(i)), torch.full((1,), -float(i)), 1 - i / num_steps)
        for i in range(num_steps + 1)
    ]


@pytest.mark.parametrize("num_steps", [1, 4])
def test_every_state_but_the_result_is_watched(num_steps: int) -> None:
    seen: list[tuple[int, SamplerState]] = []
    given, task = states(num_steps), Task("drawing", num_steps)
    assert last_state(iter(given), task, lambda step, state: seen.append((step, state))) is given[-1]
    assert seen == list(enumerate(given[:-1]))
    assert task.done == num_steps


def test_a_step_is_watched_when_it_is_done() -> None:
    """The progress and the frames of a long run do not come all at its end."""
    done: list[int] = []
    task = Task("drawing", 3)
    last_state(iter(states(3)), task, lambda step, state: done.append(task.done))
    assert done == [1, 2, 3]


def test_batches_cover_all_rows_once() -> None:
    assert batches(range(5), 2) == [range(0, 2), range(2, 4), range(4, 5)]
    assert batches(range(3, 6), None) == [range(3, 6)]
    assert [len(part) for part in batches(range(300), None)] == [128, 128, 44]
