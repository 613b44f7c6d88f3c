"""Check the jobs of a grid (-m) of the commands that draw before the first of them starts, which may take long.

What draws the images, such as the sampler, is checked with its first value only; a job with a wrong one of the others says so
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lightdiff.commands.compose import composed
from lightdiff.commands.messages import bad_configuration
from lightdiff.config.instantiate import import_target

CHECKS = {
    "sample": "lightdiff.commands.sample.check",
    "edit": "lightdiff.commands.edit.check",
    "restore": "lightdiff.commands.restore.check",
    "eval": "lightdiff.commands.evaluate.check",
}
"""Command -> the function that checks the configuration of a job."""
DRAWING = ("sampler", "seed", "guidance", "guidance_scale", "batch_size", "precision")
"""First parts of keys of which a grid has many values, while hardly anything that is checked depends on them."""


def faults(command: str, overrides: Sequence[str]) -> list[str]:
    """Return a line for each mistake in the configuration of the jobs; it names a job unless all of them have it.

    Args:
        command: the command's name; for those without a check there are no faults.
        overrides: as Hydra takes them, those of the grid among them.
    """
    if command not in CHECKS:
        return []
    try:
        jobs = _jobs(overrides)
    except HydraException:
        # Hydra itself says what is wrong
        return []
    found: dict[str, list[str]] = {}
    for swept, fixed in jobs:
        line = _fault(command, [*fixed, *swept])
        if line is not None:
            found.setdefault(line, []).append(" ".join(swept))
    return [line if len(names) == len(jobs) else f"job {names[0]}: {line}" for line, names in found.items()]


def _fault(command: str, overrides: Sequence[str]) -> str | None:
    try:
        import_target(CHECKS[command])(composed(command, overrides))
    except Exception as error:
        # what is no mistake in the configuration, such as files that only the job's machine has, is left to the job
        return bad_configuration(error, command)
    return None


def _jobs(overrides: Sequence[str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return the overrides in which the jobs differ, and those that they share."""
    parsed = OverridesParser.create().parse_overrides([*overrides])
    swept, fixed = [], []
    for override in parsed:
        line = str(override.input_line)
        key = line.partition("=")[0]
        values = (
            [f"{key}={value}" for value in override.sweep_string_iterator()] if override.is_sweep_override() else [line]
        )
        if len(values) == 1 or key.lstrip("+").partition(".")[0] in DRAWING:
            fixed.append(values[0])
        else:
            swept.append(values)
    return [(job, fixed) for job in product(*swept)]
