"""edit.py: what each task does to given images, its files, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from lightdiff.commands.edit_inputs import read_mask
from lightdiff.core import DiscreteSchedule, linear_betas
from lightdiff.model import DiffusionModel, save_export
from lightdiff.networks import UNet
from lightdiff.samplers import noiseless
from runs import ROOT

Run = Callable[..., CompletedProcess[str]]
SHIPPED = ROOT / "models" / "mnist_fast"
QUICK = ("device=cpu", "progress=false", "sampler.num_steps=3", "save=[npz]")


def refused(done: CompletedProcess[str], message: str) -> None:
    """The command ended with this one line and code 2."""
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"error: {message}")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A working directory with two pictures of noise below `photos`, and a mask whose right half is white."""
    (tmp_path / "photos").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    mask = np.zeros((28, 28), dtype=np.uint8)
    mask[:, 14:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


@pytest.fixture
def edit(photos: Path, command: Run) -> Callable[..., dict[str, np.ndarray]]:
    """What edit.py writes into samples.npz."""

    def edit(*settings: str) -> dict[str, np.ndarray]:
        done = command("edit.py", f"ckpt_path={SHIPPED}", *QUICK, "out=drawn", "overwrite=true", *settings)
        assert done.returncode == 0, done.stderr
        with np.load(photos / "drawn" / "samples.npz") as arrays:
            return dict(arrays)

    return edit


def pixels(photos: Path, i: int) -> np.ndarray:
    return np.asarray(Image.open(photos / "photos" / f"{i}.png"))[..., None]


def test_inpainting_fills_what_is_white_and_keeps_the_rest(edit: Callable[..., dict], photos: Path) -> None:
    images = edit("task=inpaint", "image=photos", "mask=mask.png", "num_samples=3", "task.resamples=2")["images"]
    for i, image in enumerate(images):
        given = pixels(photos, i % 2)
        assert np.array_equal(image[:, :14], given[:, :14])
        assert not np.array_equal(image[:, 14:], given[:, 14:])
    # the third result comes from the first image again, with other noise
    assert not np.array_equal(images[0], images[2])


@pytest.mark.parametrize("task", ["inpaint mask=mask.png", "image_to_image sampler=ddpm"])
def test_results_do_not_depend_on_the_batch_size(edit: Callable[..., dict], task: str) -> None:
    settings = (*f"task={task} image=photos/0.png num_samples=3 seed=5".split(),)
    together, alone = (edit(*settings, f"batch_size={size}")["images"].astype(int) for size in (3, 1))
    # sums over a batch of another size are rounded otherwise
    assert np.abs(together - alone).max() <= 1


def test_image_to_image_changes_more_with_more_strength(edit: Callable[..., dict], photos: Path) -> None:
    settings = ("image=photos", "sampler.num_steps=10")
    changed = [
        np.abs(edit(*settings, f"task.strength={strength}")["images"][0].astype(int) - pixels(photos, 0)).mean()
        for strength in (0.1, 0.9)
    ]
    assert changed[0] < changed[1]


def test_encoding_gives_the_noise_and_the_image_from_it(edit: Callable[..., dict]) -> None:
    drawn = edit("image=photos/0.png", "task.strength=1", "labels=3", "sampler.num_steps=20")["images"]
    first = drawn[0, ..., 0]
    Image.fromarray(first).save("given.png")
    arrays = edit("task=encode", "image=given.png", "labels=3", "sampler.num_steps=20")
    assert arrays["x_T"].shape == (1, 1, 28, 28) and arrays["x_T"].dtype == np.float32
    assert np.abs(arrays["images"][0, ..., 0].astype(int) - first).mean() < 10


def test_interpolation_begins_and_ends_where_encoding_leads(edit: Callable[..., dict]) -> None:
    settings = ("image=photos", "batch_size=2")
    row, ends = edit(*settings, "task=interpolate", "num_samples=5")["images"], edit(*settings, "task=encode")["images"]
    assert len(row) == 5
    assert np.abs(row[[0, -1]].astype(int) - ends).max() <= 1


def test_without_labels_no_class_is_aimed_at(edit: Callable[..., dict]) -> None:
    none = edit("image=photos", "task.strength=1")
    assert "labels" not in none
    assert np.array_equal(
        none["images"], edit("image=photos", "task.strength=1", "labels=3", "guidance_scale=0")["images"]
    )
    three = edit("image=photos", "task.strength=1", "labels=3")
    assert three["labels"].tolist() == [3, 3]
    assert not np.array_equal(none["images"], three["images"])


def test_all_files_are_written_into_the_runs_folder(photos: Path, command: Run) -> None:
    copied = photos / "copy"
    copied.mkdir()
    for file in SHIPPED.glob("*.*"):
        (copied / file.name).symlink_to(file)
    save = "save=[input,grid,png,npz,gif,strip,steps,history]"
    done = command("edit.py", "ckpt_path=copy", *QUICK, save, "image=photos", "mask=mask.png", "task=inpaint")
    assert done.returncode == 0, done.stderr
    [folder] = (copied / "samples").iterdir()
    assert folder.name.startswith("inpaint_ddim_3_seed0_")
    written = {path.name for path in folder.iterdir()}
    assert written >= {
        "input.png",
        "grid.png",
        "samples.npz",
        "process.gif",
        "strip.png",
        "history.png",
        "samples.json",
    }
    assert len(list((folder / "steps").iterdir())) == 4 and len(list((folder / "images").iterdir())) == 2
    record = json.loads((folder / "samples.json").read_text())
    assert record["written_by"] == "lightdiff edit" and record["settings"]["task"]["resamples"] == 5
    # what is to be filled is gray
    shown = np.asarray(Image.open(folder / "input.png"))
    assert (shown[8:-8, shown.shape[1] // 2 - 40 : shown.shape[1] // 2 - 8] == 128).all()
    # other pixels under the same name go elsewhere
    Image.fromarray(np.zeros((28, 28), dtype=np.uint8)).save(photos / "photos" / "0.png")
    assert (
        command("edit.py", "ckpt_path=copy", *QUICK, save, "image=photos", "mask=mask.png", "task=inpaint").returncode
        == 0
    )
    assert len(list((copied / "samples").iterdir())) == 2


def test_a_folder_of_other_files_is_left_alone(photos: Path, command: Run) -> None:
    done = command("edit.py", f"ckpt_path={SHIPPED}", *QUICK, "image=photos", "out=photos", "overwrite=true")
    refused(done, "out=photos: it holds 0.png, which edit.py has not written")


def test_a_mask_of_any_size_and_format_is_brought_to_the_models_size(tmp_path: Path) -> None:
    wide = Image.new("RGB", (200, 100))
    wide.paste((255, 255, 255), (100, 0, 200, 100))
    wide.save(tmp_path / "wide.bmp")
    config = {"resize_mode": "crop", "max_pixels": 10**6}
    mask = read_mask(str(tmp_path / "wide.bmp"), config, (3, 20, 20))
    assert mask.shape == (1, 1, 20, 20) and mask[..., 10:].all() and not mask[..., :10].any()
    # the borders of a padded image are kept
    config["resize_mode"] = "pad"
    Image.new("1", (10, 10), 1).save(tmp_path / "small.png")
    mask = read_mask(str(tmp_path / "small.png"), config, (3, 20, 20))
    assert mask.sum() == 100 and mask[0, 0, 5:15, 5:15].all()


WRONG = {
    "image=nowhere.png": "image=nowhere.png: no such file or folder",
    "image=notes.txt": "image=notes.txt: not a readable image",
    "image=empty": "image=empty: no images in it",
    "image=[photos/0.png,nowhere]": "image=nowhere: no such file or folder",
    "image=photos max_pixels=100": "image=photos/0.png: 28x28 pixels are more than max_pixels=100 allows",
    "image=wide.png resize_mode=pad": "image=wide.png: resize_mode=pad: an image of 40x100 does not fit into 28x28",
    "image=photos resize_mode=fill": "resize_mode=fill: one of pad, resize, crop, none is expected",
    "image=photos mask=mask.png": "mask=mask.png: task=image_to_image takes no mask; choices: task=inpaint",
    "image=photos task=inpaint": "mask: a value is needed (mask=...)",
    "image=photos task=inpaint mask=nowhere.png": "mask=nowhere.png: no such file",
    "image=photos task=inpaint mask=notes.txt": "mask=notes.txt: not a readable image",
    "image=photos task=inpaint mask=black.png": "mask=black.png: nothing in it is white",
    "image=photos task=inpaint mask=mask.png task.resamples=0": "task.resamples=0: a whole number, 1 or more, is expected",
    "image=photos task=inpaint mask=mask.png sampler.dynamic_threshold=0.9": "sampler.dynamic_threshold=0.9: it would change",
    "image=photos task=paint": "task=paint: no such choice; did you mean inpaint? choices: encode, image_to_image, inpaint,",
    "image=photos task.strength=2": "task.strength=2: a number above 0 and at most 1 is expected",
    "image=photos task.strength=0.1": "task.strength=0.1: a number in [0.3333, 1] is expected with num_steps=3",
    "image=photos num_samples=1": "num_samples=1: 2 or more is expected, one for each given image",
    "image=photos/0.png task=interpolate": "image: 2 images are expected for task=interpolate, 1 found",
    "image=photos task=encode sampler=ddpm": "sampler=ddpm: task=encode needs a sampler that adds no noise; choices: sampler="
    f"{', '.join(noiseless())}, with their usual settings",
    "image=photos task=interpolate sampler.eta=0.5": "sampler.eta=0.5: task=interpolate needs a sampler that adds no noise",
    "image=photos guidance_scale=3": "guidance_scale=3: labels=... or prompt=... is needed",
    "image=photos labels=11": "labels=11: choices: whole numbers in 0..9",
    "image=photos save=[pdf]": "save=['pdf']: a list of any of grid, input, png, npz,",
    "mask=mask.png": "image: a value is needed (image=...)",
}


@pytest.mark.parametrize("overrides", list(WRONG))
def test_it_is_refused_in_one_line(overrides: str, photos: Path, command: Run) -> None:
    (photos / "notes.txt").write_text("no picture")
    (photos / "empty").mkdir()
    Image.new("L", (28, 28)).save(photos / "black.png")
    Image.new("L", (100, 40)).save(photos / "wide.png")
    before = sorted(path.name for path in photos.iterdir())
    done = command("edit.py", f"ckpt_path={SHIPPED}", *QUICK, "out=drawn", *overrides.split())
    refused(done, WRONG[overrides])
    assert sorted(path.name for path in photos.iterdir()) == before


def test_a_grid_is_checked_before_its_first_job(photos: Path, command: Run) -> None:
    grid = ("-m", "sampler.num_steps=2,3", "image=photos", "task=inpaint", "mask=nowhere.png")
    done = command("edit.py", f"ckpt_path={SHIPPED}", "device=cpu", "progress=false", *grid)
    assert done.returncode == 2 and done.stderr.splitlines() == ["error: mask=nowhere.png: no such file"]


def test_colours_and_a_model_without_classes(photos: Path, command: Run) -> None:
    network = UNet(channels=3, image_size=[16, 24], widths=[8, 8], attention_levels=[])
    (photos / "model").mkdir()
    save_export(
        DiffusionModel(network, DiscreteSchedule(linear_betas(1000)), ema_decay=None), photos / "model", weights="raw"
    )
    done = command("edit.py", "ckpt_path=model", *QUICK, "image=photos", "guidance_scale=2")
    refused(done, "guidance_scale=2: this model is unconditional")
    assert command("edit.py", "ckpt_path=model", *QUICK, "image=photos", "out=drawn").returncode == 0
    with np.load(photos / "drawn" / "samples.npz") as arrays:
        assert arrays["images"].shape == (2, 16, 24, 3)
