"""The tab that begins with a picture in place of pure noise."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from lightdiff.config.instantiate import ConfigError
from lightdiff.play.draw import drawn_picture
from lightdiff.play.frames import Frame, Picture
from lightdiff.play.page.picture_field import PictureField
from lightdiff.play.page.show import picture_html
from lightdiff.play.page.workplace import Values, Workplace
from lightdiff.play.playable import Playable
from lightdiff.play.start_from import start_from
from lightdiff.play.wish import MOST_IMAGES
from lightdiff.play.worker import Worker

TITLE = "Vary"
ABOUT = "Noise is added to a picture, and the model removes it again. The more noise, the less is kept."


def show(playable: Playable, worker: Worker, number: int) -> None:
    """Show the tab of the model with this number."""
    name = f"start-from-{number}"
    place = Workplace(playable, worker, name)
    shown = place.place()

    def compute(values: Values) -> Iterator[Frame]:
        if values["picture"] is None:
            raise ConfigError("picture: put one in, or draw one")
        return start_from(playable, place.wish(values), values["picture"], values["count"], values["strength"])

    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            field = PictureField(
                worker,
                playable.model.image_shape,
                "picture",
                lambda picture: picture_html(Picture("the picture, as the model sees it", picture)),
                name,
            )
            drawing = gr.Button("or draw one", elem_id=f"{name}-draw-one")
            place.aims(in_turn=False)
            place.sampling(images=(9, MOST_IMAGES))
            field.filled_by(drawing, lambda values: drawn_picture(playable, place.wish(values)), {**place.inputs})
            strength = gr.Slider(0.05, 1, value=0.5, step=0.05, label="strength (share of the way back to noise)")
            place.inputs |= {"picture": field.state, "strength": strength}
            place.button("Start", compute, shown)
        with gr.Column(scale=2, min_width=320):
            shown.render()
