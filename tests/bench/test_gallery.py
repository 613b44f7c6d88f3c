"""bench/gallery.py: a section for each experiment, from runs made by hand; and the gallery that lies in the documentation."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

import gallery
from pages import faults
from reported import make_run, png, record, write_events
from runs import ROOT, tiny, train

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def run_of(folder: Path, *overrides: str) -> Path:
    """Make a run folder whose command named these overrides."""
    make_run(folder, records=[record()])
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    return folder


def sections(page: Path) -> dict[str, str]:
    return {text.partition("\n")[0]: text for text in page.read_text(encoding="utf-8").split("\n## ")[1:]}


def test_a_run_is_shown_with_its_command_minutes_figures_and_picture_and_the_others_say_that_none_is_there(
    tmp_path: Path,
) -> None:
    overrides = (
        "experiment=toy",
        "log_dir=/home/me",
        "dataset.data_dir=/data",
        "model.widths=[8,16]",
        "init_from=/a/b/mnist/version_3",
    )
    run = run_of(tmp_path / "logs/mnist/version_0", *overrides)
    write_events(run / "events.out.tfevents.1.a", 0, [("val/loss", 10, 0.5, 180)])
    png(run / "samples" / "step_0000010.png", side=400)
    run_of(tmp_path / "logs/mnist/version_1", "experiment=toy", "seed=1")
    page = tmp_path / "docs" / "gallery.md"
    page.parent.mkdir()
    gallery.main([str(tmp_path / "logs"), "--models", str(tmp_path), "--page", str(page)])
    found = sections(page)
    assert list(found) == EXPERIMENTS
    assert [name for name, text in found.items() if gallery.MISSING not in text] == ["toy"]
    toy = found["toy"]
    assert "train.py experiment=toy 'model.widths=[8,16]' init_from=lightning_logs/mnist/version_3\n" in toy
    assert "- 3 minutes (done, epoch 7)\n" in toy and "- fid 3.25 (ddim, 50 steps, 10,000 samples, classifier" in toy
    assert "/home" not in page.read_text() and "/data" not in page.read_text()
    assert [path.name for path in (page.parent / "images" / "gallery").iterdir()] == ["toy.png"]
    assert (page.parent / "images/gallery/toy.png").stat().st_size <= gallery.LARGEST


def test_a_run_without_pictures_is_drawn_from_its_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "digits/version_0"
    train(tiny("trainer.max_epochs=1", "callbacks=no_samples"), folder)
    (folder / ".hydra").mkdir(exist_ok=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- experiment=digits_fast\n")
    shown = gallery.of_run("digits_fast", gallery.runs_by_experiment([folder])["digits_fast"])
    assert shown.caption == "30 samples, ddim, 50 steps, seed 0" and shown.picture is not None
    with Image.open(io.BytesIO(shown.picture)) as picture:
        assert picture.format == "PNG" and picture.width >= 512


def test_a_large_picture_becomes_a_small_one(tmp_path: Path) -> None:
    data = png(tmp_path / "noise.png", side=900).read_bytes()
    small = gallery.fitted(data)
    assert len(small) <= gallery.LARGEST < len(data)
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.width == picture.height > 100


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_gallery_of_the_documentation_has_the_experiment(name: str) -> None:
    text = sections(ROOT / "docs" / "gallery.md")[name]
    assert f"python train.py experiment={name}" in text
    pictures = re.findall(r"\]\((images/gallery/[^)]+)\)", text)
    assert pictures == ([] if gallery.MISSING in text else [f"images/gallery/{name}.png"])


def test_the_gallery_of_the_documentation_is_small_and_without_faults() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "docs" / "images" / "gallery").iterdir()]
    assert max(sizes) <= gallery.LARGEST and sum(sizes) < 1_500_000
    assert faults(ROOT / "docs" / "gallery.md") == []
