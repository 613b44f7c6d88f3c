"""Write the gallery of the documentation: for each experiment a picture, its command, its minutes and its figures.

    python bench/gallery.py                                       # runs in lightning_logs, and models/
    python bench/gallery.py lightning_logs/emoji/version_0 ...    # these runs, and models/

A run belongs to the experiment that its command named. Of several, the first counts; an experiment without a run shows the model
of its name in models/. Where there is neither, the page says so. The picture is the newest of the run's samples; where a run or
model has none, it is drawn here with the sampler of the recipe.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch
import yaml
from PIL import Image
from torch import Tensor

from lightdiff import DiffusionModel, load_model
from lightdiff.commands.compose import composed
from lightdiff.commands.report.runs import Run, find_runs, read_run
from lightdiff.config.build import build_sampler
from lightdiff.utils.images import enlarge, make_grid, to_uint8

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 150_000
"""Bytes of a picture. A larger one gets fewer colours, then fewer pixels."""

SHIPPED = {
    "mnist_fast": (
        "trainer.max_epochs=8",
        "figures by sampler and steps: [performance.md](performance.md#the-sampler)",
    ),
    "mnist_one_step": (
        "trainer.max_steps=2700 'objective.rule.ratios=[0.5,0.75,0.875,0.9375]'",
        "FID 0.49 with one step, 0.25 with two, 0.21 with four (ddim, 5,000 samples): [few_steps.md](few_steps.md#figures)",
    ),
    "mnist_super_resolution": (
        "",
        "FID 0.265, 98.60 % read as the true digit (ddpm, 20 steps, 2,000 samples): [conditions.md](conditions.md#figures)",
    ),
}
"""Settings and figures of the models in models/, which hold neither: models/README.md has the settings, the pages the figures."""

MEASURED = {
    "fashion_fast": "[few_steps.md](few_steps.md#figures)",
    "fashion_one_step": "[few_steps.md](few_steps.md#figures)",
    "text_to_digit": "[tutorials.md](tutorials.md#text_to_digit-and-its-prompts)",
}
"""Pages with figures of recipes, for runs that were not measured themselves."""

HIDDEN = ("experiment", "callbacks", "dataset.data_dir", "log_dir", "trainer.limit_val_batches")
"""Settings of a command that the page leaves out: where things lie, and what is drawn and validated during training."""

HEAD = """\
# Gallery

What each recipe of `conf/experiment` has drawn. `make gallery` writes this page from the runs in `lightning_logs` and the models
in `models/`; a recipe that was not run there says so. Minutes are those of the run's own clock without pauses. Other work may
have kept the machine busy, so they are upper bounds; the [README](../README.md#results) has times of an idle machine. No picture
was chosen by hand: each shows the first samples of its seed.
"""


MISSING = "no run is at hand, so there is no picture and no figure"


@dataclass(frozen=True)
class Shown:
    """What the page shows of an experiment.

    Args:
        command: the command that trains it.
        facts: lines of the list below the picture.
        picture: content of the PNG; None where there is nothing at hand.
        caption: what the picture shows.
    """

    command: str
    facts: list[str]
    picture: bytes | None = None
    caption: str = ""


def runs_by_experiment(folders: Iterable[Path]) -> dict[str, Run]:
    """Return the first run of each experiment that a run's command names."""
    found: dict[str, Run] = {}
    for folder in (run for parent in folders for run in find_runs(parent)):
        name = overrides_of(folder).get("experiment")
        if name is not None:
            found.setdefault(name, read_run(folder, folder.name))
    return found


def overrides_of(folder: Path) -> dict[str, str]:
    """Return the settings that the command of a run named, {"experiment": "mnist_fast", ...}."""
    path = folder / ".hydra" / "overrides.yaml"
    pairs = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else []
    return dict(pair.split("=", 1) for pair in pairs or [])


def of_run(name: str, run: Run) -> Shown:
    """Return what a run has to show."""
    typed = {key: value for key, value in overrides_of(run.folder).items() if key not in HIDDEN}
    if not typed.get("init_from", "models/").startswith("models/"):
        typed["init_from"] = "/".join(["lightning_logs", *Path(typed["init_from"]).parts[-2:]])
    command = " ".join(
        [f"python train.py experiment={name}", *(_quoted(f"{key}={value}") for key, value in typed.items())]
    )
    minutes = "minutes not recorded" if run.minutes is None else f"{run.minutes:.0f} minutes ({run.state})"
    figures = [f"{found.metric} {found.text} ({found.protocol})" for found in run.distances]
    page = f"; another run of the recipe: {MEASURED[name]}" if name in MEASURED else ""
    losses = ", ".join(f"{loss} loss {value:.4g}" for loss, value in run.losses.items())
    facts = [minutes, *(figures or [f"no distance was measured in this run{page}"]), losses]
    if run.picture is not None:
        return Shown(command, facts, run.picture.read_bytes(), "the run's last samples")
    return Shown(command, facts, *drawn(name, load_model(run.folder)))


def of_model(name: str, folder: Path) -> Shown:
    """Return what a model in models/ has to show."""
    settings, figure = SHIPPED.get(name, ("", "no figure is known of this model"))
    facts = [f"`models/{name}`; an exported model does not record its minutes", figure]
    return Shown(f"python train.py experiment={name} {settings}".rstrip(), facts, *drawn(name, load_model(folder)))


def drawn(name: str, model: DiffusionModel) -> tuple[bytes, str]:
    """Draw 30 samples with the sampler of the recipe, seed 0; return a PNG of them and its caption."""
    sampler, steps = build_sampler(composed("train", [f"experiment={name}"]))
    caption = f"30 samples, {type(sampler).__name__.lower()}, {steps} step{'s' * (steps != 1)}, seed 0"
    conditioner = model.conditioning
    if conditioner is None or "condition" not in conditioner.takes:
        return png(to_uint8(model.sample(30, sampler=sampler, num_steps=steps, seed=0))), caption
    # digits of another model, made small, so that no data set has to be at hand
    digits = load_model(ROOT / "models" / "mnist_fast").sample(10, sampler="ddpm", num_steps=20, seed=0)
    small = to_uint8(torch.nn.functional.adaptive_avg_pool2d(digits, conditioner.condition_shape[-2:]))
    images = model.sample(10, sampler=sampler, num_steps=steps, seed=0, condition=small)
    rows = [digits, conditioner.pictured(small).float(), images]
    size = images.shape[-2:]
    rows = [torch.nn.functional.interpolate(row, size, mode="nearest") for row in rows]
    text = "digits drawn by models/mnist_fast, the same made small, and what this model makes of the small ones"
    return png(to_uint8(torch.cat(rows))), text


def png(images: Tensor) -> bytes:
    """Return a PNG of uint8 images (N, C, H, W), ten in a row."""
    grid = enlarge(make_grid(images, columns=10), at_least=512)
    picture = Image.fromarray(grid.movedim(0, -1).squeeze(-1).numpy())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def fitted(data: bytes) -> bytes:
    """Return a PNG of at most `LARGEST` bytes that shows the same picture."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    while len(data) > LARGEST:
        file = io.BytesIO()
        # an octree keeps rare colours, which the median cut that is Pillow's default turns into others
        picture.quantize(255, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            file, "PNG", optimize=True
        )
        data = file.getvalue()
        picture = picture.resize((picture.width * 9 // 10, picture.height * 9 // 10), Image.Resampling.LANCZOS)
    return data


def section(name: str, shown: Shown) -> str:
    """Return the part of the page that shows an experiment."""
    lines = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1:]
    about = " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines))
    parts = [f"## {name}", about if about.endswith(".") else f"{about}."]
    if shown.picture is not None:
        parts.append(f"![{name}: {shown.caption}](images/gallery/{name}.png)")
        parts.append(f"{shown.caption[:1].upper()}{shown.caption[1:]}.")
    parts += [f"```bash\n{shown.command}\n```", "\n".join(f"- {fact}" for fact in shown.facts if fact)]
    return "\n\n".join(parts) + "\n"


def write(page: Path, experiments: Mapping[str, Shown]) -> None:
    """Write the page, and its pictures into images/gallery beside it, where nothing else stays."""
    pictures = page.parent / "images" / "gallery"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    for name, shown in experiments.items():
        if shown.picture is not None:
            (pictures / f"{name}.png").write_bytes(fitted(shown.picture))
    sections = (section(name, shown) for name, shown in experiments.items())
    page.write_text("\n".join([HEAD, *sections]), encoding="utf-8")


def _quoted(setting: str) -> str:
    return f"'{setting}'" if set(setting) & set("[](){},* ") else setting


def main(arguments: list[str] | None = None) -> None:
    """Write the page; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="*", type=Path, help="runs, or folders with runs; lightning_logs if none is given"
    )
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="a folder with exported models")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "gallery.md", help="the page to write")
    asked = parser.parse_args(arguments)
    logs = Path("lightning_logs")
    runs = runs_by_experiment(asked.runs or ([logs] if any(logs.glob("**/version_*/config.yaml")) else []))
    experiments = {}
    for name in sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")):
        if name in runs:
            experiments[name] = of_run(name, runs[name])
        elif (asked.models / name / "config.json").is_file():
            experiments[name] = of_model(name, asked.models / name)
        else:
            experiments[name] = Shown(f"python train.py experiment={name}", [MISSING])
    write(asked.page, experiments)
    print(f"page: {asked.page}")


if __name__ == "__main__":
    main()
