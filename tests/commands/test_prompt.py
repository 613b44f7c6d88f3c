"""sample.py with a prompt, on a model that was trained on captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from lightdiff.utils.captions import TOP
from runs import TINY, composed, train

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text") / "digits" / "version_0"
    network = [
        "model=resunet",
        "model.widths=[8]",
        "model.attention_levels=[0]",
        "model.num_heads=2",
        "model.image_size=16",
    ]
    config = tiny_without_unet(*network, "conditioning=text", "objective=v", "trainer.max_epochs=1")
    train(config, folder)
    return folder


def tiny_without_unet(*overrides: str) -> dict:
    """The tiny run with another network than its own."""
    return composed(*(override for override in TINY if not override.startswith("model")), *overrides)


@pytest.fixture
def sample(run: Path, command: Run) -> Run:
    """sample.py on that model."""

    def sample(*arguments: str) -> CompletedProcess[str]:
        settings = (f"ckpt_path={run}", "sampler.num_steps=2", "num_samples=2")
        return command("sample.py", *settings, *arguments, folder=run)

    return sample


def test_a_prompt_draws_images(sample: Run, run: Path) -> None:
    images = []
    for prompt in ("A handwritten digit 4", "A handwritten digit 7"):
        out = run / prompt[-1]
        done = sample(f"prompt={prompt}", "guidance_scale=8", "save=[npz]", f"out={out}")
        assert done.returncode == 0, done.stderr
        images.append(np.load(out / "samples.npz")["images"])
    assert images[0].shape == (2, 16, 16, 1)


def test_a_prompt_it_cannot_read_is_one_line(sample: Run) -> None:
    done = sample("prompt=A purple digit 4")
    assert done.returncode == 2
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("error: prompt='A purple digit 4': unknown word 'purple'; known: 0, 1, 2")


def test_no_prompt_is_left_out(sample: Run) -> None:
    done = sample("prompt=[A handwritten digit 4,A handwritten digit 5,A handwritten digit 6]")
    assert done.returncode == 2
    assert "error: num_samples=2: 3 or more is expected, one for each of prompt=['A handwritten" in done.stderr


def test_images_of_a_prompt_have_no_labels_and_those_of_classes_do(sample: Run, run: Path) -> None:
    for wish, keys in (
        ("prompt=A handwritten digit 4", {"arr_0", "images"}),
        ("labels=[4,7]", {"arr_0", "arr_1", "images", "labels", "class_names"}),
    ):
        out = run / wish.partition("=")[0]
        assert sample(wish, "save=[npz,png]", f"out={out}").returncode == 0
        with np.load(out / "samples.npz") as arrays:
            assert set(arrays) == keys
    assert sorted(path.name for path in (run / "prompt" / "images").iterdir()) == ["00000.png", "00001.png"]
    assert sorted(path.name for path in (run / "labels" / "images").iterdir()) == ["00000_4.png", "00001_7.png"]


def test_history_and_guidance_pictures(sample: Run, run: Path) -> None:
    out = run / "pictures"
    settings = ("prompt=A handwritten digit 4", "sampler.num_steps=4", "num_samples=3", "columns=2", f"out={out}")
    done = sample(*settings, "save=[history,guidance,png]", "stages=4", "guidance_scales=[0,1,1e4]", "weights=raw")
    assert done.returncode == 0, done.stderr
    pixels = without_captions(out / "guidance.png", rows=2)
    plain = np.asarray(Image.open(out / "images" / "00000.png"))
    first_row = pixels[1:17, -(3 * 17 + 1) :]
    tiles = [first_row[:, 1 + 17 * scale : 17 * (scale + 1)] for scale in range(3)]
    assert np.array_equal(tiles[1], plain)  # a scale of 1 is what is drawn without guidance
    assert not np.array_equal(tiles[2], plain)  # so large, for so short a training
    assert without_captions(out / "history.png", rows=4).shape[0] == 4 * 17 + 1


def test_a_guidance_scale_of_0_ignores_the_prompt(sample: Run, run: Path) -> None:
    """The tutorial's formula, uncond + scale * (cond - uncond), is uncond then."""
    drawn = {}
    for digit in "47":
        settings = (
            f"prompt=A handwritten digit {digit}",
            "num_samples=1",
            f"out={run / f'scales{digit}'}",
            "weights=raw",
        )
        assert sample(*settings, "save=guidance", "guidance_scales=[0,100]").returncode == 0
        picture = without_captions(run / f"scales{digit}" / "guidance.png", rows=1)
        drawn[digit] = picture[:, -35:-17], picture[:, -17:]
    assert np.array_equal(drawn["4"][0], drawn["7"][0])
    assert not np.array_equal(drawn["4"][1], drawn["7"][1])


def without_captions(path: Path, *, rows: int) -> np.ndarray:
    """A picture of rows of 16x16 images at its own size; what is left of the margin stays at its left."""
    pixels = np.asarray(Image.open(path))
    factor = (len(pixels) - TOP) // (17 * rows + 1)
    return pixels[TOP::factor, pixels.shape[1] % factor :: factor]


def test_images_are_only_enlarged(sample: Run, run: Path) -> None:
    done = sample("pixels=8", f"out={run / 'small'}")
    expected = "error: pixels=8: 16 or more is expected, the longer side of this model's images"
    assert (done.returncode, done.stderr.strip()) == (2, expected)
    assert not (run / "small").exists()


def test_guidance_rows_need_a_condition_and_scales(sample: Run) -> None:
    done = sample("save=guidance", "guidance_scales=[]")
    assert (done.returncode, done.stderr.strip()) == (
        2,
        "error: guidance_scales=[]: at least one is expected for save=guidance",
    )
