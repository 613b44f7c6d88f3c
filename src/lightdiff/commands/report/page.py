"""Runs as one HTML page that needs no other file and no script: a card for each, the newest picture first."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from lightdiff.commands.report.pictures import data_url
from lightdiff.commands.report.runs import Run
from lightdiff.commands.report.settings import as_typed, differing, unusual
from lightdiff.commands.report.style import STYLE
from lightdiff.jobs.run_config import CONFIG
from lightdiff.utils.text import shorten

LONGEST_VALUE = 300
"""Characters of a setting's value; a longer one is cut."""


def as_html(title: str, runs: Sequence[Run], folder: Path) -> str:
    """Return the page.

    Args:
        title: its heading.
        runs: the runs, in the order of their cards.
        folder: where the page will lie. Links to the runs' files are relative to it.
    """
    keys = differing([run.settings for run in runs])
    marks = unusual([run.choices | run.settings for run in runs])
    cards = "\n".join(_card(run, mark, keys, folder) for run, mark in zip(runs, marks, strict=True))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_text(title)}</title><style>{STYLE}</style></head>
<body><header><h1>{_text(title)}</h1><p>{_text(_summary(runs))}</p></header>
<main>
{cards}
</main></body></html>
"""


def _summary(runs: Sequence[Run]) -> str:
    """Return how many runs there are in each state, and the group choices that all of them share."""
    counted = ", ".join(f"{number} {status}" for status, number in Counter(run.status for run in runs).items())
    shared = {group: choice for run in runs for group, choice in run.choices.items()}
    for group in differing([run.choices for run in runs]):
        del shared[group]
    same = ", ".join(f"{group} {choice}" for group, choice in shared.items())
    return f"{len(runs)} run{'s' * (len(runs) > 1)}: {counted}." + (f" The same in all: {same}." if same else "")


def _card(run: Run, marks: Container[str], keys: Sequence[str], folder: Path) -> str:
    """Return a card. Choices and settings in `marks`, which few runs share, stand out; `keys` are those that differ at all."""
    links = {"folder": run.folder, "config": run.folder / CONFIG, "GIF": run.animation}
    differing_settings = [(key, run.settings[key]) for key in keys if key in run.settings]
    return f"""<article>
{_picture(run, folder)}
<h2>{_text(run.name)} <span class="{run.status.replace(" ", "-")}">{_text(run.state)}</span></h2>
{_figures(run)}
{_choices(run, marks)}
{_folded("Settings that differ", differing_settings, marks)}
{_folded("All settings", run.settings.items(), marks)}
<p class="links">{" ".join(_link(name, path, folder) for name, path in links.items() if path)}</p>
</article>"""


def _picture(run: Run, folder: Path) -> str:
    """Return the newest samples, which lead to their animation, or a place for them."""
    source = data_url(run.picture) if run.picture else None
    if source is None or run.picture is None:
        return '<div class="picture">no samples</div>'
    target = _address(run.animation or run.picture, folder)
    image = f'<img alt="samples of {_text(run.name)}" src="{source}">'
    return f'<a class="picture" href="{target}">{image}</a>'


def _figures(run: Run) -> str:
    """Return the losses, then the distances, those of one protocol together with a line that says how they were measured."""
    losses = [(f"{loss} loss", f"{value:.4g}") for loss, value in run.losses.items()]
    by_protocol: dict[str, list[tuple[str, str]]] = {}
    for found in run.distances:
        by_protocol.setdefault(found.protocol, []).append((found.metric, found.text))
    measured = (_values(values) + f"<p>{_text(protocol)}</p>" for protocol, values in by_protocol.items())
    return _values(losses) + "".join(measured)


def _values(values: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in values)
    return f"<dl>{cells}</dl>" if cells else ""


def _choices(run: Run, marks: Container[str]) -> str:
    """Return the group choices; those in `marks` stand out."""
    if not run.settings:
        return f"<p>{CONFIG} cannot be read.</p>"
    cells = (
        f"<li{_class(group, marks)}>{_text(group)} <b>{_text(choice)}</b></li>" for group, choice in run.choices.items()
    )
    return f"<ul>{''.join(cells)}</ul>"


def _folded(title: str, settings: Iterable[tuple[str, object]], marks: Container[str]) -> str:
    rows = [
        f"<tr{_class(key, marks)}><th>{_breakable(key)}</th><td>{_text(shorten(as_typed(value), LONGEST_VALUE))}</td></tr>"
        for key, value in settings
    ]
    if not rows:
        return ""
    return f"<details><summary>{title} ({len(rows)})</summary><table>{''.join(rows)}</table></details>"


def _breakable(key: str) -> str:
    """Return a key that a browser may break after its dots."""
    return _text(key).replace(".", ".<wbr>")


def _class(key: str, marks: Container[str]) -> str:
    return ' class="unusual"' if key in marks else ""


def _link(name: str, path: Path, folder: Path) -> str:
    return f'<a href="{_address(path, folder)}">{name}</a>'


def _address(path: Path, folder: Path) -> str:
    """Return the path relative to the page. Every sign that means something in an address or in HTML is encoded."""
    return quote(os.fsencode(os.path.relpath(path, folder)))


def _text(text: str) -> str:
    return html.escape(text)
