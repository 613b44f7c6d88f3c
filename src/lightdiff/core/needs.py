"""What predictions, time samplers, time grids and objectives need of a schedule, and the siblings that can take their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Need:
    """Something that a schedule has or has not.

    Args:
        met: whether a schedule has it.
        reason: what to say where it has not; {schedule} stands for the schedule's class.
    """

    met: Callable[[Any], bool]
    reason: str


TIMESTEPS = Need(
    lambda schedule: hasattr(schedule, "num_train_timesteps"), "it needs a schedule with timesteps, not {schedule}"
)
INVERSE = Need(
    lambda schedule: schedule.has_inverse,
    "it needs a schedule with an inverse (t_from_log_snr), which {schedule} does not have",
)
ALPHA = Need(
    lambda schedule: schedule.alpha(torch.ones(1, dtype=torch.float64)).item() > 0,
    "x0 cannot be computed from the noise where alpha = 0, as at t = 1 of this schedule",
)


def check_needs(kind: type, base: type, schedule: Any, *, more: str = "") -> None:
    """Check that a schedule has what a class needs.

    Args:
        kind: the class; its attribute `needs` lists what it needs.
        base: the base class of its kind, such as `TimeGrid`, whose other subclasses may be chosen instead.
        schedule: the noise schedule.
        more: another way out, to be added to the choices.

    Raises:
        ValueError: it has not; one line with the name in the configuration, the reason and the siblings that fit.
    """
    reason = unmet(kind, schedule)
    if reason is not None:
        fitting = (other for other in siblings(base) if unmet(other, schedule) is None)
        choices = ", ".join(name_in_configuration(other, base) for other in fitting)
        raise ValueError(
            f"{_KEYS[base.__name__]}={name_in_configuration(kind, base)}: {reason}; choices: {choices}{more}"
        )


def unmet(kind: type, schedule: Any) -> str | None:
    """Return what a schedule lacks of what a class needs, in words for a message; None if it lacks nothing.

    Args:
        kind: the class; its attribute `needs` lists what it needs.
        schedule: the noise schedule.
    """
    for need in kind.needs:  # type: ignore[attr-defined]
        if not need.met(schedule):
            return need.reason.format(schedule=type(schedule).__name__)
    return None


_KEYS = {"Prediction": "prediction", "TimeSampler": "time_sampler", "TimeGrid": "grid"}
_SUFFIXES = {"TimeSampler": "Time", "TimeGrid": "Grid"}


def siblings(base: type) -> Iterator[Any]:
    """Yield lightdiff's own classes below a base class, in the order in which they are defined."""
    below: list[Any] = base.__subclasses__()
    for kind in below:
        if kind.__module__.startswith("lightdiff."):
            if not kind.__abstractmethods__:
                yield kind
            yield from siblings(kind)


def name_in_configuration(kind: type, base: type) -> str:
    """Return the name of a class's YAML file: its own name in small letters, without the name of its kind.

    LogSNRGrid is log_snr, X0Prediction is x0.
    """
    name = kind.__name__.removesuffix(_SUFFIXES.get(base.__name__, base.__name__))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
