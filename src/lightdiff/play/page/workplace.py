"""What each tab is made of: the settings of a drawing, a button that computes, one that stops, and the place for the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr
from torch import Tensor

from lightdiff.play.frames import Frame, Picture
from lightdiff.play.page.picture_field import COMPUTING, PictureField
from lightdiff.play.page.show import frame_html, picture_html, refused_html
from lightdiff.play.playable import Playable
from lightdiff.play.wish import LARGEST_SEED, MOST_STEPS, Wish
from lightdiff.play.worker import Refused, Worker
from lightdiff.utils.images import to_uint8

IN_TURN = "each in turn"
NONE = "none"
ANY = "any"
HIGHEST_SCALE = 10.0

Inputs = dict[str, gr.components.Component]
Values = dict[str, Any]


class Workplace:
    """The settings of one tab, and what it shows.

    Args:
        playable: the model.
        worker: computes.
        name: beginning of the ids of the elements, such as "draw-0".

    Attributes:
        inputs: the settings by their names, in the order in which they are shown.
    """

    def __init__(self, playable: Playable, worker: Worker, name: str) -> None:
        self.playable, self.worker, self.name = playable, worker, name
        self.inputs: Inputs = {}

    def aims(self, *, in_turn: bool = True, condition: bool = True) -> None:
        """Show what the model can be asked for: a class, attributes, a prompt, a condition image.

        Args:
            in_turn: whether images that nothing is asked of show each class in turn; otherwise they have none.
            condition: whether a model of condition images asks for one.
        """
        playable = self.playable
        if playable.class_names:
            first = IN_TURN if in_turn else NONE
            self.inputs["label"] = gr.Dropdown([first, *playable.class_names], value=first, label="class")
        for column, values in playable.columns.items():
            self.inputs[f"column {column}"] = gr.Dropdown([ANY, *values], value=ANY, label=column)
        if "prompt" in playable.takes:
            self.inputs["prompt"] = gr.Textbox(label="prompt", placeholder="what the images are to show")
        if playable.condition_shape is not None and condition:
            field = PictureField(
                self.worker, playable.condition_shape, "condition", self._pictured, f"{self.name}-condition"
            )
            self.inputs["condition"] = field.state

    def sampling(self, *, images: tuple[int, int], least: int = 1, without_noise: bool = False) -> None:
        """Show the settings of sampling.

        Args:
            images: the usual number of images, and the largest.
            least: the smallest number of images.
            without_noise: offer only samplers that add no noise.
        """
        playable, samplers = self.playable, self.playable.samplers(without_noise=without_noise)
        usual = "ddim" if "ddim" in samplers else samplers[0]
        with gr.Row():
            self.inputs["sampler"] = gr.Dropdown(samplers, value=usual, label="sampler", min_width=120)
            self.inputs["num_steps"] = whole(playable.usual_steps, "steps", 1, MOST_STEPS)
            self.inputs["seed"] = whole(0, "seed", 0, LARGEST_SEED)
        if playable.guidance_acts:
            self.inputs["guidance_scale"] = gr.Slider(0, HIGHEST_SCALE, value=1, step=0.1, label="guidance scale")
        self.inputs["count"] = gr.Slider(least, images[1], value=images[0], step=1, label="images")

    def wish(self, values: Mapping[str, Any]) -> Wish:
        """Return the wish that the values of the inputs make.

        Raises:
            ValueError: a number is left empty.
        """
        empty = next((self.inputs[key].label for key in ("num_steps", "seed") if values[key] is None), None)
        if empty is not None:
            raise ValueError(f"{empty}: a whole number is needed")
        label = values.get("label")
        columns = {key.removeprefix("column "): value for key, value in values.items() if key.startswith("column ")}
        return Wish(
            sampler=values["sampler"],
            num_steps=values["num_steps"],
            seed=values["seed"],
            guidance_scale=values.get("guidance_scale", 1.0),
            label=None if label in (IN_TURN, NONE) else label,
            attributes={column: value for column, value in columns.items() if value != ANY},
            prompt=values.get("prompt") or "",
            condition=values.get("condition"),
        )

    def button(
        self,
        text: str,
        function: Callable[[Values], Iterator[Frame]],
        shown: gr.HTML,
        *,
        js: str | None = None,
    ) -> None:
        """Show a button that computes, and one that stops it.

        Args:
            text: what stands on the button.
            function: from the values of the inputs to the frames.
            shown: where the frames are shown.
            js: function of the browser that changes the list of values before it is sent.
        """
        with gr.Row():
            go = gr.Button(text, variant="primary", min_width=120, elem_id=f"{self.name}-go")
            stop = gr.Button("Stop", min_width=80, elem_id=f"{self.name}-stop")
        names = list(self.inputs)

        def compute(*values: Any) -> Iterator[str]:
            try:
                for frame in self.worker.each(lambda: function(dict(zip(names, values, strict=True)))):
                    yield frame_html(frame)
            except Refused as error:
                yield refused_html(str(error))

        event = go.click(compute, list(self.inputs.values()), shown, js=js, **COMPUTING)
        stop.click(None, cancels=[event], js=f"() => window.lightdiffStopped('{self.name}-shown')")

    def place(self) -> gr.HTML:
        """Return the place where frames are shown."""
        return gr.HTML(elem_id=f"{self.name}-shown", js_on_load=None, render=False)

    def _pictured(self, condition: Tensor) -> str:
        conditioner = self.playable.model.conditioning
        assert conditioner is not None
        return picture_html(Picture("the condition", to_uint8(conditioner.pictured(condition[None]))[0]))


def whole(value: int, label: str, lowest: int, highest: int) -> gr.Number:
    """Show a field for a whole number."""
    return gr.Number(value, label=label, precision=0, minimum=lowest, maximum=highest, min_width=80)
