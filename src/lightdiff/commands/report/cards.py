"""A run as a card of the page: the newest picture first, then figures, choices, settings and links."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from lightdiff.commands.report.pictures import data_url
from lightdiff.commands.report.runs import Run
from lightdiff.commands.report.settings import LONGEST_VALUE, as_typed
from lightdiff.jobs.run_config import CONFIG
from lightdiff.utils.text import shorten


def card(number: int, run: Run, marks: Container[str], keys: Sequence[str], folder: Path) -> str:
    """Return the card of run `number`.

    Choices and settings in `marks`, which few runs share, stand out; `keys` are those that differ at all.
    """
    links = {"folder": run.folder, "config": run.folder / CONFIG, "GIF": run.animation}
    differing_settings = [(key, run.settings[key]) for key in keys if key in run.settings]
    return f"""<article id="run-{number}">
{_picture(run, folder)}
{_drawn(run)}
<h2>{escape(run.name)} <span class="{run.status.replace(" ", "-")}">{escape(run.state)}</span></h2>
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
    image = f'<img alt="samples of {escape(run.name)}" src="{source}">'
    return f'<a class="picture" href="{target}">{image}</a>'


def _drawn(run: Run) -> str:
    """Return the samples that `--samples` has drawn, or why there are none; nothing where none were asked for."""
    if run.drawn is None:
        return ""
    image = f'<img alt="{escape(run.drawn.text)}" src="{run.drawn.url}">' if run.drawn.url else ""
    return f'<figure class="drawn">{image}<figcaption>{escape(run.drawn.text)}</figcaption></figure>'


def _figures(run: Run) -> str:
    """Return the losses, then the distances, those of one protocol together with a line that says how they were measured."""
    losses = [(f"{loss} loss", f"{value:.4g}") for loss, value in run.losses.items()]
    by_protocol: dict[str, list[tuple[str, str]]] = {}
    for found in run.distances:
        by_protocol.setdefault(found.protocol, []).append((found.metric, found.text))
    measured = (_values(values) + f"<p>{escape(protocol)}</p>" for protocol, values in by_protocol.items())
    return _values(losses) + "".join(measured)


def _values(values: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values)
    return f"<dl>{cells}</dl>" if cells else ""


def _choices(run: Run, marks: Container[str]) -> str:
    """Return the group choices; those in `marks` stand out."""
    if not run.settings:
        return f"<p>{CONFIG} cannot be read.</p>"
    cells = (
        f"<li{_class(group, marks)}>{escape(group)} <b>{escape(choice)}</b></li>"
        for group, choice in run.choices.items()
    )
    return f"<ul>{''.join(cells)}</ul>"


def _folded(title: str, settings: Iterable[tuple[str, object]], marks: Container[str]) -> str:
    rows = [
        f"<tr{_class(key, marks)}><th>{_breakable(key)}</th><td>{escape(shorten(as_typed(value), LONGEST_VALUE))}</td></tr>"
        for key, value in settings
    ]
    if not rows:
        return ""
    return f"<details><summary>{title} ({len(rows)})</summary><table>{''.join(rows)}</table></details>"


def _breakable(key: str) -> str:
    """Return a key that a browser may break after its dots."""
    return escape(key).replace(".", ".<wbr>")


def _class(key: str, marks: Container[str]) -> str:
    return ' class="unusual"' if key in marks else ""


def _link(name: str, path: Path, folder: Path) -> str:
    return f'<a href="{_address(path, folder)}">{name}</a>'


def _address(path: Path, folder: Path) -> str:
    """Return the path relative to the page. Every sign that means something in an address or in HTML is encoded."""
    return quote(os.fsencode(os.path.relpath(path, folder)))
