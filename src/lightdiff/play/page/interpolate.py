"""The tab that walks from one noise to another."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from lightdiff.play.frames import Frame
from lightdiff.play.interpolate import MOST_IN_A_ROW, interpolate
from lightdiff.play.page.workplace import Values, Workplace, whole
from lightdiff.play.playable import Playable
from lightdiff.play.wish import LARGEST_SEED
from lightdiff.play.worker import Worker

TITLE = "Walk"
ABOUT = "A row of images from the noise of one seed to that of another. The slider walks along it."


def show(playable: Playable, worker: Worker, number: int) -> None:
    """Show the tab of the model with this number."""
    place = Workplace(playable, worker, f"interpolate-{number}")
    shown = place.place()

    def compute(values: Values) -> Iterator[Frame]:
        if values["other_seed"] is None:
            raise ValueError("second seed: a whole number is needed")
        return interpolate(playable, place.wish(values), values["other_seed"], values["count"])

    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            place.aims(in_turn=False)
            place.sampling(images=(9, MOST_IN_A_ROW), least=2, without_noise=True)
            place.inputs["other_seed"] = whole(1, "second seed", 0, LARGEST_SEED)
            place.button("Draw", compute, shown)
        with gr.Column(scale=2, min_width=320):
            shown.render()
