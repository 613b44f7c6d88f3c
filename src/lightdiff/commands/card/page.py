"""The text of a model card: metadata in YAML, which the hub reads, and a page in Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lightdiff.commands.card.facts import Facts
from lightdiff.commands.card.picture import FILE, Picture
from lightdiff.utils.files import ON_HUB
from lightdiff.utils.quoting import setting
from lightdiff.utils.text import printable

CARD = "README.md"
UNKNOWN_LICENCE = "unknown"

LIGHTDIFF = """In Python, where lightdiff is installed:

```python
from lightdiff import load_model

model = load_model({path!r})
images = model.sample(16, {call}seed=0)  # (16, C, H, W) in [-1, 1]
```

On the command line:

```bash
lightdiff sample {ckpt_path} num_samples=16{arguments}
```
"""
DIFFUSERS = """With `pip install diffusers`:

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained({path!r})
images = pipeline(batch_size=16).images
```
"""
LOADING = {"safetensors": LIGHTDIFF, "diffusers": DIFFUSERS}
"""Format of the export -> how it is loaded."""


def write_card(
    folder: Path,
    facts: Facts,
    picture: Picture | None,
    *,
    name: str,
    pushed: bool,
    format: str,
    half: bool,
    licence: str | None,
) -> None:
    """Write `CARD` into the folder of an export.

    Args:
        folder: the folder.
        facts: what is known of the model.
        picture: the picture in the folder, if any.
        name: user/name on the hub, or the name of the folder.
        pushed: whether it goes to the hub.
        format: safetensors or diffusers.
        half: whether the weights are stored as 16-bit numbers.
        licence: of the model, as the hub calls it; None: not stated.
    """
    path = f"{ON_HUB if pushed and format == 'safetensors' else ''}{name}"
    call, arguments = "", ""
    if picture is not None:
        call = f"sampler={picture.sampler!r}, num_steps={picture.num_steps}, "
        arguments = f" sampler={picture.sampler} sampler.num_steps={picture.num_steps}"
    if facts.task == "image-to-image":
        call, arguments = "condition=images, ", " condition=IMAGES"
    loading = LOADING[format].format(path=path, call=call, ckpt_path=setting("ckpt_path", path), arguments=arguments)
    figures = [
        "Nothing was measured.\n"
        if not facts.figures
        else _table(
            ["metric", "value", "drawn with", "compared with"], [list(vars(each).values()) for each in facts.figures]
        )
    ]
    if half and facts.figures:
        figures.append(
            "They were measured before the weights were rounded to 16-bit numbers, as they are stored here.\n"
        )
    parts = [
        f"---\n{yaml.safe_dump(_metadata(facts, format, licence), sort_keys=False, allow_unicode=True)}---\n",
        f"# {_plain(name.rpartition('/')[2])}\n",
        "A diffusion model, trained with lightdiff.\n",
        *([] if picture is None else [f"![samples]({FILE})\n", f"{_plain(picture.text)}\n"]),
        "## How to load it\n",
        loading,
        "## What it was trained on\n",
        _rows(facts.data),
        "## The model\n",
        _rows({**facts.model, "stored as": "16-bit numbers"} if half else facts.model),
        "## Training\n",
        _rows(facts.training) if facts.training else "Nothing is known of it.\n",
        "## Figures\n",
        *figures,
        "## Licence\n",
        f"Of the model: {_plain(licence or 'not stated')}. Of the data that it was trained on: "
        f"{_plain(facts.data['licence of the data'])}.\n",
    ]
    (folder / CARD).write_text("\n".join(parts), encoding="utf-8", errors="backslashreplace")


def _metadata(facts: Facts, format: str, licence: str | None) -> dict[str, Any]:
    """Return what the hub reads at the top of a card."""
    metrics = list(dict.fromkeys(figure.metric for figure in facts.figures))
    return {
        "license": licence or UNKNOWN_LICENCE,
        "library_name": "diffusers" if format == "diffusers" else "lightdiff",
        **({"pipeline_tag": facts.task} if facts.task else {}),
        "tags": ["diffusion", "image-generation", "pytorch", "lightdiff"],
        **({"datasets": [facts.hub_data]} if facts.hub_data else {}),
        **({"metrics": metrics} if metrics else {}),
    }


def _rows(rows: Mapping[str, str]) -> str:
    return _table(["", ""], [list(row) for row in rows.items()])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line; it may come from a stranger's file."""
    shown = printable(text)
    for sign in "\\|<>[]`*_#!":
        shown = shown.replace(sign, f"\\{sign}")
    return shown
