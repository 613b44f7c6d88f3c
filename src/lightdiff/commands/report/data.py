"""What the script of the page needs of the runs, as JSON that may stand inside of a page."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from lightdiff.commands.report.curves import Curve
from lightdiff.commands.report.runs import Run
from lightdiff.commands.report.settings import LONGEST_VALUE, Settings, as_typed
from lightdiff.utils.text import shorten


def as_json(runs: Sequence[Run], marks: Sequence[Settings]) -> str:
    """Return the data of the page.

    Args:
        runs: the runs, in the order of their cards.
        marks: for each run the choices and settings in which it differs from most.

    Returns:
        {"common": the settings that are the same in all runs, "runs": [...]}. No "<" is in it, so that nothing in it ends the
        element around it.
    """
    settings = [{key: _text(value) for key, value in run.settings.items()} for run in runs]
    known = [each for each in settings if each]
    common = {
        key: value
        for key, value in (known[0] if len(known) == len(runs) else {}).items()
        if all(each.get(key) == value for each in known)
    }
    data = {
        "common": common,
        "runs": [
            _run(run, mark, {key: value for key, value in own.items() if key not in common})
            for run, mark, own in zip(runs, marks, settings, strict=True)
        ],
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _run(run: Run, mark: Settings, own: dict[str, str]) -> dict[str, Any]:
    """Return the data of a run; `own` are its settings that not all runs share."""
    best = run.distances[0] if run.distances else None
    return {
        "name": run.name,
        "state": run.state,
        "minutes": run.minutes if run.minutes is None else _short(run.minutes),
        "losses": {loss: _short(value) for loss, value in run.losses.items()},
        "distances": [[found.metric, found.text, found.protocol] for found in run.distances],
        "best": best and [best.metric, _short(best.value)],
        "choices": run.choices,
        "settings": own,
        "differs": list(mark),
        "noise": _noise(run.settings),
        "curves": {name: _points(curve) for name, curve in run.curves.items()},
    }


def _text(value: Any) -> str:
    """Return a value as it is typed. A long one, such as the words of captions, is cut, with a digest by which it compares."""
    text = as_typed(value)
    if len(text) <= LONGEST_VALUE:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{shorten(text, LONGEST_VALUE)} (sha256 {digest})"


def _noise(settings: Settings) -> str | None:
    """Return what decides the noise that the run's stored samples begin with; None where the run stores none.

    Image i of a grid begins with noise i of the callback's seed, which is that of the run unless it is set. The size of the grid
    does not matter. The numbers depend on the shape of the image, on the kind of noise, and on the kind of device, which a run
    does not record.
    """
    shape = [settings.get(f"model.{name}") for name in ("channels", "image_size")]
    if "callbacks.samples._target_" not in settings or None in shape:
        return None
    kind = as_typed(settings.get("objective.noise._target_", "")).rpartition(".")[2] or "GaussianNoise"
    seed = as_typed(settings.get("callbacks.samples.seed", settings.get("seed", 0)))
    return shorten(
        f"seed {seed}, {kind}, {as_typed(shape[0])} channels, {as_typed(shape[1])} pixels a side", LONGEST_VALUE
    )


def _points(curve: Curve) -> list[list[float | None]]:
    return [[step, None if minutes is None else _short(minutes), _short(value)] for step, minutes, value in curve]


def _short(value: float) -> float | None:
    """Return a number with five digits, and None for NaN and infinity, which JSON does not have."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
