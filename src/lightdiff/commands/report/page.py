"""Runs as one HTML page that needs no other file: cards, which can be read without a script, and the data of its script."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from lightdiff.commands.report.cards import card
from lightdiff.commands.report.data import as_json
from lightdiff.commands.report.runs import Run
from lightdiff.commands.report.settings import differing, unusual

SCRIPTS = ("page.js", "curves.js", "compare.js")
"""Files of the script, in their order on the page."""


def as_html(title: str, runs: Sequence[Run], folder: Path) -> str:
    """Return the page.

    Its security policy lets a browser run no script but `SCRIPTS`, and load nothing.

    Args:
        title: its heading.
        runs: the runs, in the order of their cards.
        folder: where the page will lie. Links to the runs' files are relative to it.
    """
    keys = differing([run.settings for run in runs])
    marks = unusual([run.choices | run.settings for run in runs])
    cards = "\n".join(card(i, run, mark, keys, folder) for i, (run, mark) in enumerate(zip(runs, marks, strict=True)))
    script, style = "\n".join(map(_read, SCRIPTS)), _read("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title><style>{style}</style></head>
<body><header><h1>{escape(title)}</h1><p>{escape(_summary(runs))}</p></header>
<main>
{cards}
</main>
<script type="application/json" id="data">{as_json(runs, marks)}</script>
<script>{script}</script></body></html>
"""


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _summary(runs: Sequence[Run]) -> str:
    """Return how many runs there are in each state, and the group choices that all of them share."""
    counted = ", ".join(f"{number} {status}" for status, number in Counter(run.status for run in runs).items())
    shared = {group: choice for run in runs for group, choice in run.choices.items()}
    for group in differing([run.choices for run in runs]):
        del shared[group]
    same = ", ".join(f"{group} {choice}" for group, choice in shared.items())
    return f"{len(runs)} run{'s' * (len(runs) > 1)}: {counted}." + (f" The same in all: {same}." if same else "")
