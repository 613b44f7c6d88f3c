"""The tab that shows the training images nearest to drawn ones."""

from __future__ import annotations

import gradio as gr

from lightdiff.play.neighbours import MOST_BESIDE, neighbours
from lightdiff.play.page.workplace import Workplace
from lightdiff.play.playable import Playable
from lightdiff.play.worker import Worker

TITLE = "Nearest"
ABOUT = (
    "Beside each drawn image stand the training images that are nearest to it, pixel by pixel: does the "
    "model repeat them?"
)


def show(playable: Playable, worker: Worker, number: int) -> None:
    """Show the tab of the model with this number."""
    place = Workplace(playable, worker, f"neighbours-{number}")
    shown = place.place()
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            place.aims()
            place.sampling(images=(4, MOST_BESIDE))
            place.button("Search", lambda values: neighbours(playable, place.wish(values), values["count"]), shown)
        with gr.Column(scale=2, min_width=320):
            shown.render()
