"""The tab that draws images from noise."""

from __future__ import annotations

import gradio as gr

from lightdiff.play.draw import draw
from lightdiff.play.page.workplace import Workplace
from lightdiff.play.playable import Playable
from lightdiff.play.wish import MOST_IMAGES
from lightdiff.play.worker import Worker

TITLE = "Draw"
ABOUT = (
    "Images arise from noise, step by step: on the left x_t, on the right x0_hat, what the model makes "
    "of it at that moment."
)


def show(playable: Playable, worker: Worker, number: int) -> None:
    """Show the tab of the model with this number."""
    place = Workplace(playable, worker, f"draw-{number}")
    shown = place.place()
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            place.aims()
            place.sampling(images=(16, MOST_IMAGES))
            place.button("Draw", lambda values: draw(playable, place.wish(values), values["count"]), shown)
        with gr.Column(scale=2, min_width=320):
            shown.render()
