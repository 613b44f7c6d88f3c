"""Take sampling runs to their end, batch by batch, while somebody watches the states on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lightdiff.samplers import SamplerState
from lightdiff.utils.progress import Task

DEFAULT_BATCH_SIZE = 128
"""Images drawn at a time where nothing else is asked for."""


def batches(rows: range, batch_size: int | None) -> list[range]:
    """Return `rows` in batches of `batch_size` images, of `DEFAULT_BATCH_SIZE` where it is None; the last one may be smaller."""
    size = batch_size or DEFAULT_BATCH_SIZE
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def last_state(
    states: Iterator[SamplerState], task: Task, watch: Callable[[int, SamplerState], None] | None = None
) -> SamplerState:
    """Run through the states of a trajectory and return the last one, whose x_t is the result.

    Args:
        states: the states of the trajectory, one or more.
        task: counts the steps of the sampler.
        watch: called with the number of each step, from 0 on, and the state before that step.
    """
    state = next(states)
    for step, following in enumerate(states):
        task.advance()
        if watch is not None:
            watch(step, state)
        state = following
    return state
