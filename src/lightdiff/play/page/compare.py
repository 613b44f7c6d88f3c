"""The tab that lets two models draw from the same noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gradio as gr

from lightdiff.play.compare import MOST_COMPARED, compare
from lightdiff.play.frames import Frame
from lightdiff.play.page.workplace import Values, Workplace
from lightdiff.play.playable import Playable, names_of
from lightdiff.play.worker import Worker

TITLE = "Compare"
ABOUT = "Two models draw from the same noise: the images of the first are above, those of the second below."


def show(playables: Sequence[Playable], worker: Worker) -> None:
    """Show the tab; there are two models or more."""
    names = [(name, number) for number, name in enumerate(names_of(playables))]
    place = Workplace(playables[0], worker, "compare")
    shown = place.place()

    def compute(values: Values) -> Iterator[Frame]:
        first, second = playables[values["first"]], playables[values["second"]]
        return compare(first, second, place.wish(values), values["count"])

    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            place.inputs["first"] = gr.Dropdown(names, value=0, label="above", filterable=False)
            place.inputs["second"] = gr.Dropdown(names, value=1, label="below", filterable=False)
            place.aims()
            place.sampling(images=(8, MOST_COMPARED))
            place.button("Compare", compute, shown)
        with gr.Column(scale=2, min_width=320):
            shown.render()
