"""Put the tabs together."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import gradio as gr

from lightdiff.play.page import compare, draw, fill_in, interpolate, neighbours, start_from
from lightdiff.play.playable import Playable, names_of
from lightdiff.play.worker import Worker

TABS = (draw, interpolate, fill_in, start_from, neighbours)
"""The tabs of each model, in this order."""
KEPT_SECONDS = 3600
"""How long files that were put in stay at most."""


def build_page(playables: Sequence[Playable]) -> gr.Blocks:
    """Return the page of these models: the tabs of the only one, or a tab for each with those in it, and one to compare them."""
    worker = Worker()
    page = gr.Blocks(title="lightdiff", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS))
    with page:
        if len(playables) == 1:
            _tabs(playables[0], worker, 0)
        else:
            with gr.Tabs():
                for number, playable in enumerate(playables):
                    with gr.Tab(names_of(playables)[number]):
                        _tabs(playable, worker, number)
                with gr.Tab(compare.TITLE):
                    _paragraph(compare.ABOUT)
                    compare.show(playables, worker)
    return page


def _tabs(playable: Playable, worker: Worker, number: int) -> None:
    _paragraph(playable.described())
    with gr.Tabs():
        for tab in TABS:
            with gr.Tab(tab.TITLE):
                _paragraph(tab.ABOUT)
                tab.show(playable, worker, number)


def _paragraph(text: str) -> None:
    gr.HTML(f"<p>{escape(text)}</p>", js_on_load=None)
