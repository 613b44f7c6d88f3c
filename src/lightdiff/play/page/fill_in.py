"""The tab that fills a painted part of a picture."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from lightdiff.config.instantiate import ConfigError
from lightdiff.play.draw import drawn_picture
from lightdiff.play.fill_in import MOST_RESAMPLES, fill_in, read_mask
from lightdiff.play.frames import Frame
from lightdiff.play.page.picture_field import PictureField
from lightdiff.play.page.show import painter_html
from lightdiff.play.page.workplace import Values, Workplace
from lightdiff.play.playable import Playable
from lightdiff.play.wish import MOST_IMAGES
from lightdiff.play.worker import Worker

TITLE = "Fill in"
ABOUT = (
    "Put in a picture or draw one, paint over a part of it, and let the model fill that part. All other "
    "pixels stay as they are."
)


def show(playable: Playable, worker: Worker, number: int) -> None:
    """Show the tab of the model with this number."""
    name, shape = f"fill-in-{number}", playable.model.image_shape
    place, painter = Workplace(playable, worker, name), f"{name}-painter"
    shown = place.place()

    def compute(values: Values) -> Iterator[Frame]:
        if values["picture"] is None:
            raise ConfigError("picture: put one in, or draw one")
        mask = read_mask(values["mask"], (shape[1], shape[2]))
        return fill_in(playable, place.wish(values), values["picture"], mask, values["count"], values["resamples"])

    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            field = PictureField(worker, shape, "picture", lambda picture: painter_html(picture, painter), name)
            drawing = gr.Button("or draw one", elem_id=f"{name}-draw-one")
            place.aims(in_turn=False, condition=not playable.fills_holes)
            place.sampling(images=(4, MOST_IMAGES))
            if not playable.fills_holes:
                field.filled_by(drawing, lambda values: drawn_picture(playable, place.wish(values)), {**place.inputs})
            drawing.visible = not playable.fills_holes
            resamples = gr.Slider(1, MOST_RESAMPLES, value=5, step=1, label="repetitions of each step")
            place.inputs |= {"picture": field.state, "mask": gr.Textbox(visible=False), "resamples": resamples}
            at = list(place.inputs).index("mask")
            js = f"(...values) => {{ values[{at}] = window.lightdiffMask('{painter}'); return values; }}"
            place.button("Fill in", compute, shown, js=js)
        with gr.Column(scale=2, min_width=320):
            shown.render()
