"""restore.py: what comes of measured images, its files, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.commands.restorations import Restored, psnr
from lightdiff.core import DiscreteSchedule, UniformNoise, linear_betas
from lightdiff.model import DiffusionModel, save_export
from lightdiff.networks import UNet
from runs import ROOT

Run = Callable[..., CompletedProcess[str]]
SHIPPED = ROOT / "models" / "mnist_fast"
QUICK = ("device=cpu", "progress=false", "sampler.num_steps=3", "save=[npz]", "num_samples=2")


def refused(done: CompletedProcess[str], message: str) -> None:
    """The command ended with this one line and code 2."""
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"error: {message}")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A working directory with two pictures of a bright square on black below `photos`, and a mask with a white right half."""
    (tmp_path / "photos").mkdir()
    for i in range(2):
        pixels = np.zeros((28, 28), dtype=np.uint8)
        pixels[8 : 20 - 4 * i, 8:20] = 255
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    mask = np.zeros((28, 28), dtype=np.uint8)
    mask[:, 14:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


@pytest.fixture
def restore(photos: Path, command: Run) -> Callable[..., np.ndarray]:
    """The restorations (N, 28, 28) of restore.py."""

    def restore(*settings: str) -> np.ndarray:
        done = command("restore.py", f"ckpt_path={SHIPPED}", *QUICK, "out=drawn", "overwrite=true", *settings)
        assert done.returncode == 0, done.stderr
        with np.load(photos / "drawn" / "samples.npz") as arrays:
            return arrays["images"][..., 0].astype(float)

    return restore


def truth(photos: Path, i: int) -> np.ndarray:
    return np.asarray(Image.open(photos / "photos" / f"{i}.png")).astype(float)


PROBLEMS = (
    *("method=pigdm", "method=dps", "method=moment_matching", "method=diffpir"),
    *("operator=blur", "operator=compressed_sensing", "operator=inpaint mask=mask.png"),
)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_restorations_are_closer_to_the_truth_than_chance(
    restore: Callable[..., np.ndarray], photos: Path, problem: str
) -> None:
    images = restore("image=photos", *problem.split())
    own, other = (
        np.mean([np.abs(images[i] - truth(photos, j(i))).mean() for i in range(2)]) for j in (int, lambda i: 1 - i)
    )
    black = np.mean([truth(photos, i).mean() for i in range(2)])
    assert own < other and own < black


def test_a_measurement_is_restored_as_the_image_that_gave_it(restore: Callable[..., np.ndarray], photos: Path) -> None:
    """The picture of the measurement, given with degraded=true, leads to what the truth led to."""
    small = truth(photos, 0).reshape(7, 4, 7, 4).mean((1, 3))
    Image.fromarray(small.astype(np.uint8)).save(photos / "small.png")
    from_truth = restore("image=photos/0.png")
    assert np.abs(restore("image=small.png", "degraded=true") - from_truth).max() <= 1
    assert "psnr" not in json.loads((photos / "drawn" / "samples.json").read_text())
    # a hole, whatever colour it has in the picture
    for level in (0, 200):
        holed = np.where(np.asarray(Image.open("mask.png")) > 0, level, truth(photos, 0)).astype(np.uint8)
        Image.fromarray(holed).save(photos / "holed.png")
        hole = ("operator=inpaint", "mask=mask.png")
        assert np.array_equal(restore("image=holed.png", "degraded=true", *hole), restore("image=photos/0.png", *hole))


def test_results_do_not_depend_on_the_batch_size(restore: Callable[..., np.ndarray]) -> None:
    settings = ("image=photos", "num_samples=4", "seed=5", "noise_std=0.1", "labels=[1,2,3,4]")
    together, alone = (restore(*settings, f"batch_size={size}") for size in (4, 1))
    # sums over a batch of another size are rounded otherwise
    assert np.abs(together - alone).max() <= 1
    # image 0 and image 1 in turn, with other noise
    assert not np.array_equal(together[0], together[2])


def test_labels_and_guidance_count(restore: Callable[..., np.ndarray]) -> None:
    three, guided, none = (
        restore("image=photos", *settings) for settings in (("labels=3",), ("labels=3", "guidance_scale=3"), ())
    )
    assert not np.array_equal(three, guided) and not np.array_equal(three, none)


def test_noise_of_the_measurement_is_added_by_the_seed(restore: Callable[..., np.ndarray]) -> None:
    clean, noisy, again = (restore("image=photos", f"noise_std={std}") for std in (0.0, 0.5, 0.5))
    assert np.array_equal(noisy, again) and not np.array_equal(clean, noisy)


def test_all_files_are_written_into_the_runs_folder(photos: Path, command: Run) -> None:
    copied = photos / "copy"
    copied.mkdir()
    for file in SHIPPED.glob("*.*"):
        (copied / file.name).symlink_to(file)
    save = "save=[overview,truth,measurement,restoration,mean,spread,grid,png,npz,gif,strip,steps,history]"
    done = command("restore.py", "ckpt_path=copy", *QUICK, save, "image=photos", "num_samples=6")
    assert done.returncode == 0, done.stderr
    assert "PSNR of the restoration: " in done.stdout and ", PSNR of the mean: " in done.stdout
    [folder] = (copied / "samples").iterdir()
    assert folder.name.startswith("superresolution_pigdm_renoise_3_seed0_")
    names = ("overview", "truth", "measurement", "restoration", "mean", "spread", "grid", "strip", "history")
    assert {path.name for path in folder.iterdir()} >= {
        *(f"{name}.png" for name in names),
        "samples.npz",
        "process.gif",
    }
    assert len(list((folder / "images").iterdir())) == 6
    record = json.loads((folder / "samples.json").read_text())
    assert record["written_by"] == "lightdiff restore" and record["settings"]["method"]["strength"] == 1.0
    assert {name: len(values) for name, values in record["psnr"].items()} == {
        "restoration": 2,
        "mean": 2,
        "measurement": 2,
    }


def test_the_usual_number_is_four_of_each(photos: Path, command: Run) -> None:
    done = command("restore.py", f"ckpt_path={SHIPPED}", *QUICK, "image=photos", "num_samples=null", "out=drawn")
    assert "8 images: drawn" in done.stdout


def test_mean_spread_and_psnr_are_those_of_each_image() -> None:
    levels = torch.tensor([0, 10, 255, 30], dtype=torch.uint8)
    images = levels[:, None, None, None].expand(4, 1, 2, 2)
    empty = images[:0]
    drawn = Restored(images, empty, empty, empty, measurement=torch.full((2, 1, 1, 1), 7).byte(), truth=images[:2] + 1)
    # image 0 has the restorations 0 and 255, image 1 has 10 and 30
    assert drawn.mean[:, 0, 0, 0].tolist() == [128, 20]
    assert drawn.spread[:, 0, 0, 0].tolist() == [255, 20]
    assert drawn.enlarged.shape == (2, 1, 2, 2) and (drawn.enlarged == 7).all()
    expected = (10 * np.log10(255**2 / 1) + 10 * np.log10(255**2 / 19**2)) / 2
    assert drawn.psnr()["restoration"][1] == pytest.approx(expected, abs=0.01)
    assert psnr(images, images).tolist() == [100] * 4


WRONG = {
    "image=nowhere.png": "image=nowhere.png: no such file or folder",
    "image=photos mask=mask.png": "mask=mask.png: this operator takes no mask; choices: operator=inpaint",
    "image=photos operator=inpaint": "mask: a value is needed (mask=...), an image that is white where the pixels are unknown",
    "image=photos operator=inpaint mask=white.png": "mask=white.png: nothing in it is black, so that nothing is measured",
    "image=photos operator=sharpen": "operator=sharpen: no such choice; choices: blur, colour_removal, compressed_sensing,",
    "image=photos method=magic": "method=magic: no such choice; choices: diffpir, dps, moment_matching, pigdm",
    "image=photos operator.factor=5": "operator.factor=5: a whole number that divides 28 and 28 is expected",
    "image=photos operator.size=5": "operator.size: no such key; ",
    "image=photos operator=colour_removal": "operator: images of 3 channels are expected, and this model has 1",
    "image=photos operator=blur operator.std=0": "operator.std=0: a number above 0 is expected",
    "image=photos operator=compressed_sensing degraded=true": "degraded=true: a measurement by CompressedSensing is no image",
    "image=photos method.strength=0": "method.strength=0: a number above 0 is expected",
    "image=photos method=dps method.step_size=much": "method.step_size=much: float is expected",
    "image=photos noise_std=-1": "noise_std=-1: 0 or more is expected",
    "image=photos num_samples=3": "num_samples=3: a multiple of 2 is expected, as many restorations of each given image",
    "image=photos degraded=true save=[truth]": "save=truth: with degraded=true the truth is not known",
    "image=photos save=[input]": "save=['input']: a list of any of overview, truth, measurement,",
    "image=photos guidance_scale=3": "guidance_scale=3: labels=... or prompt=... is needed",
    "mask=mask.png": "image: a value is needed (image=...)",
}


@pytest.mark.parametrize("overrides", list(WRONG))
def test_it_is_refused_in_one_line(overrides: str, photos: Path, command: Run) -> None:
    Image.new("L", (28, 28), 255).save(photos / "white.png")
    before = sorted(path.name for path in photos.iterdir())
    done = command("restore.py", f"ckpt_path={SHIPPED}", *QUICK, "out=drawn", *overrides.split())
    refused(done, WRONG[overrides])
    assert sorted(path.name for path in photos.iterdir()) == before


def test_a_grid_is_checked_before_its_first_job(photos: Path, command: Run) -> None:
    done = command("restore.py", f"ckpt_path={SHIPPED}", "device=cpu", "-m", "image=photos", "operator.factor=4,5")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: job operator.factor=5: operator.factor=5: a whole number that divides 28 and 28 is expected"
    ]


def test_colours_and_a_model_of_other_noise(photos: Path, command: Run) -> None:
    network = UNet(channels=3, image_size=[16, 24], widths=[8, 8], attention_levels=[])
    for name, noise in (("model", None), ("uniform", UniformNoise())):
        (photos / name).mkdir()
        model = DiffusionModel(network, DiscreteSchedule(linear_betas(1000)), ema_decay=None)
        if noise is not None:
            model.objective.noise = noise
        save_export(model, photos / name, weights="raw")
    gray = ("image=photos", "operator=colour_removal", "degraded=true", "out=drawn")
    assert command("restore.py", "ckpt_path=model", *QUICK, *gray, "save=[npz,overview]").returncode == 0
    with np.load(photos / "drawn" / "samples.npz") as arrays:
        assert arrays["images"].shape == (2, 16, 24, 3)
    done = command("restore.py", "ckpt_path=uniform", *QUICK, "image=photos", "sampler=ddim")
    refused(done, "ckpt_path=uniform: trained with UniformNoise; restoring needs Gaussian noise")
