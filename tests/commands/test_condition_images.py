"""Super-resolution by the command line: train, draw with condition=, evaluate; what cannot work is said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff import DiffSet, load_model
from lightdiff.callbacks.common import with_conditions
from lightdiff.model import Generation, example_of
from runs import ROOT, differences, killed, last, tiny, train, train_in_two_processes

Run = Callable[..., CompletedProcess[str]]
SETTINGS = ("conditioning=super_resolution", "conditioning.factor=2", "conditioning.augmentation=0.3")
QUICK = ("device=cpu", "progress=false", "sampler.num_steps=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the digits, 8x8 -> 16x16, with pictures."""
    folder = tmp_path_factory.mktemp("run") / "version_0"
    pictures = ("callbacks=few_step", "callbacks.few_step.steps=[1,2]", "callbacks.few_step.columns=3")
    grid = ("callbacks.samples.rows=2", "callbacks.samples.columns=2")
    train(tiny(*SETTINGS, "trainer.max_epochs=1", *pictures, *grid), folder)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder of two images of 8x8."""
    (tmp_path / "small").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "small" / f"{i}.png")
    return tmp_path / "small"


def digits() -> DiffSet:
    data = DiffSet("digits")
    data.setup()
    return data


def refused(done: CompletedProcess[str], message: str) -> None:
    """The command ended with this one line and code 2."""
    assert done.returncode == 2
    assert done.stderr == f"error: {message}\n"


def test_pictures_of_training_show_the_condition_at_the_left_of_the_sample(run: Path) -> None:
    picture = np.asarray(Image.open(run / "samples" / "step_0000007.png"))
    cells = picture[:: picture.shape[0] // 35, :: picture.shape[1] // 67][:35, :67]
    model, data = load_model(run), digits()
    conditions = model.conditioning.condition_of(data.val_set[range(4)], torch.zeros(4))
    shown = ((model.conditioning.pictured(conditions) + 1) * 127.5).round().byte()
    for i in range(4):
        top, left = 1 + 17 * (i // 2), 1 + 33 * (i % 2)
        assert np.array_equal(cells[top : top + 16, left : left + 16], shown[i, 0].numpy())
        assert not np.array_equal(cells[top : top + 16, left + 16 : left + 32], shown[i, 0].numpy())


def test_pictures_of_few_steps_begin_with_the_conditions(run: Path) -> None:
    picture = np.asarray(Image.open(run / "samples" / "steps_0000007.png"))
    model, data = load_model(run), digits()
    conditions = model.conditioning.condition_of(data.val_set[range(3)], torch.zeros(3))
    shown = ((model.conditioning.pictured(conditions) + 1) * 127.5).round().byte()[:, 0]
    # three rows, of which the first has the conditions
    height, width = 3 * 17 + 1, 3 * 17 + 1
    factor = (picture.shape[0] - 26) // height
    grid = picture[26:, picture.shape[1] - factor * width :][::factor, ::factor]
    for i in range(3):
        assert np.array_equal(grid[1:17, 1 + 17 * i : 17 + 17 * i], shown[i].numpy())


def test_the_last_line_of_a_run_names_the_condition(command: Run) -> None:
    tiny_run = [*SETTINGS, "dataset=digits", "model=unet_small", "model.widths=[4,4]", "model.attention_levels=[]"]
    tiny_run += ["trainer=debug", "callbacks=no_samples", "model.num_heads=1"]
    done = command("train.py", *tiny_run)
    assert done.returncode == 0, done.stderr
    assert " condition=IMAGES\n" in done.stdout


def test_drawing_by_the_command_equals_drawing_in_python(run: Path, small: Path, command: Run) -> None:
    def drawn(*settings: str) -> dict[str, np.ndarray]:
        done = command("sample.py", f"ckpt_path={run}", *QUICK, "out=drawn", "overwrite=true", *settings)
        assert done.returncode == 0, done.stderr
        with np.load(small.parent / "drawn" / "samples.npz") as arrays:
            return dict(arrays)

    images = drawn(f"condition={small}", "num_samples=5", "save=npz", "batch_size=2")["images"]
    condition = torch.stack([torch.from_numpy(np.asarray(Image.open(small / f"{i}.png")).copy())[None] for i in (0, 1)])
    expected = load_model(run).sample(5, num_steps=2, seed=0, condition=condition)
    assert np.array_equal(images[:, :, :, 0], ((expected[:, 0] + 1) * 127.5).round().clamp(0, 255).byte().numpy())
    for named in (small, [str(small / "0.png"), small / "1.png"]):
        assert torch.equal(load_model(run).sample(5, num_steps=2, seed=0, condition=named), expected)
    assert (small.parent / "drawn" / "input.png").is_file()
    # the second image alone; the noise of image 0 differs from that of image 1
    other = drawn(f"condition={small / '1.png'}", "num_samples=5", "save=[npz,grid]")["images"]
    assert np.array_equal(other[1::2], images[1::2])
    assert not np.array_equal(other[0::2], images[0::2])


def test_folders_are_named_by_the_pixels_of_the_condition_and_not_by_their_path(
    run: Path, small: Path, command: Run
) -> None:
    def folder(condition: Path) -> str:
        done = command("sample.py", f"ckpt_path={run}", *QUICK, f"condition={condition}", "num_samples=2", "save=[]")
        assert done.returncode == 0, done.stderr
        return done.stdout.rpartition(" ")[2]

    first = folder(small)
    (small.parent / "copy").mkdir()
    for file in small.iterdir():
        (small.parent / "copy" / file.name).write_bytes(file.read_bytes())
    assert folder(small.parent / "copy") == first
    assert folder(small / "0.png") != first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            [],
            "condition: images are needed, on which this model is conditioned, of 1x8x8 (channels, height, width)",
        ),
        (["condition=nowhere"], "condition=nowhere: no such file or folder"),
        (
            ["condition=SMALL", "labels=3"],
            "labels=3: this model is conditioned on images alone; choices: condition=...",
        ),
        (
            ["condition=SMALL", "prompt=a"],
            "prompt=a: this model is conditioned on images alone; choices: condition=...",
        ),
        (["condition=SMALL", "save=guidance"], None),
        (["condition=SMALL", "guidance_scale=2"], None),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    settings: list[str], message: str | None, run: Path, small: Path, command: Run
) -> None:
    typed = [setting.replace("SMALL", str(small)) for setting in settings]
    done = command("sample.py", f"ckpt_path={run}", *QUICK, "num_samples=2", *typed)
    if message is None:
        assert done.returncode == 2
        assert "never without it (conditioning.drop_prob=0)" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    else:
        refused(done, message)


def test_python_refuses_files_in_the_same_words(run: Path) -> None:
    for condition, message in (
        ("nowhere", r"^condition=nowhere: no such file or folder$"),
        (
            torch.zeros(1, 1, 8, 8).numpy(),
            r"^condition=ndarray: a tensor of uint8 images .*, or the names of image files$",
        ),
        ([torch.zeros(1, 8, 8)], r"^condition=list: a tensor of uint8 images"),
    ):
        with pytest.raises(ValueError, match=message):
            load_model(run).sample(1, condition=condition)


def test_other_models_take_no_condition(small: Path, command: Run) -> None:
    shipped = f"ckpt_path={ROOT / 'models' / 'mnist_fast'}"
    refused(
        command("sample.py", shipped, f"condition={small}", *QUICK),
        f"condition={small}: this model takes no image as its condition; choices: labels=...",
    )
    refused(
        command("sample.py", shipped, "save=input", *QUICK),
        "save=input: there are no condition images to show (condition=...)",
    )
    with pytest.raises(ValueError, match=r"^condition=nowhere: this model takes no image"):
        load_model(ROOT / "models" / "mnist_fast").sample(1, condition="nowhere")
    with pytest.raises(ValueError, match=r"^condition=1x1x8x8 \(images, .*: this model takes no image"):
        load_model(ROOT / "models" / "mnist_fast").sample(1, condition=torch.zeros(1, 1, 8, 8, dtype=torch.uint8))


def test_evaluation_draws_with_the_conditions_of_validation_images_and_asks_for_their_classes(
    run: Path, command: Run, tmp_path: Path
) -> None:
    wanted = (
        "metrics=[prompt_accuracy]",
        "num_samples=8",
        f"out={tmp_path / 'out'}",
        f"cache_dir={tmp_path / 'cache'}",
    )
    done = command("eval.py", f"ckpt_path={run}", *QUICK, *wanted)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert record["labels"] == "conditions of the validation images in turn"
    assert "condition_noise" not in record
    # with noise in the conditions it is another measurement
    done = command("eval.py", f"ckpt_path={run}", *QUICK, *wanted, "condition_noise=0.2")
    assert done.returncode == 0 and "measured before" not in done.stdout, done.stderr
    noisy = json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[1])
    assert noisy["condition_noise"] == 0.2
    head, _, *rows = (tmp_path / "out" / "table.md").read_text().splitlines()
    column = head.split(" | ").index("condition noise")
    assert [row.split(" | ")[column] for row in rows] == ["", "0.2"]


def test_noise_is_mixed_into_the_conditions_of_samples(run: Path, small: Path, command: Run) -> None:
    images = {}
    for level in (None, 0, 0.2):
        typed = [] if level is None else [f"condition_noise={level}"]
        done = command(
            *("sample.py", f"ckpt_path={run}", *QUICK, f"condition={small}", "num_samples=2", f"out=noise{level}"),
            *("save=npz", *typed),
        )
        assert done.returncode == 0, done.stderr
        images[level] = np.load(small.parent / f"noise{level}" / "samples.npz")["images"]
        settings = json.loads((small.parent / f"noise{level}" / "samples.json").read_text())["settings"]
        assert settings["condition_noise"] == level
    assert np.array_equal(images[None], images[0])
    assert not np.array_equal(images[0.2], images[0])
    model = load_model(run)
    drawn = [
        model.sample(2, num_steps=2, seed=0, condition=small, condition_noise=0.2, batch_size=size) for size in (1, 2)
    ]
    torch.testing.assert_close(*drawn, atol=1e-4, rtol=0)
    assert np.array_equal(images[0.2][..., 0], ((drawn[1][:, 0] + 1) * 127.5).round().clamp(0, 255).byte().numpy())


def test_other_noise_is_refused_in_one_line(run: Path, small: Path, command: Run) -> None:
    refused(
        command("sample.py", f"ckpt_path={run}", *QUICK, f"condition={small}", "condition_noise=0.5"),
        "condition_noise=0.5: a number in [0, 0.3] is expected, as in training (conditioning.augmentation)",
    )
    refused(
        command("sample.py", f"ckpt_path={ROOT / 'models' / 'mnist_fast'}", *QUICK, "condition_noise=0.1"),
        "condition_noise=0.1: this model was trained without noise in condition images (conditioning.augmentation=0); "
        "choices: null",
    )


def test_generations_for_pictures_have_the_classes_of_the_validation_images(run: Path) -> None:
    class OnDigits:
        datamodule = digits()

    model = load_model(run)
    generation = Generation.of(model, num_steps=2, **example_of(model))
    found = with_conditions(OnDigits, model, generation, 5)
    store = OnDigits.datamodule.val_set
    assert torch.equal(found.labels, store.labels[:5])
    assert torch.equal(found.condition, model.conditioning.made(store[range(5)]["image"], torch.zeros(5)))
    OnDigits.datamodule = None
    with pytest.raises(ValueError, match="need the images of a DiffSet") as caught:
        with_conditions(OnDigits, model, generation, 5)
    assert "\n" not in str(caught.value)


def test_a_killed_run_goes_on_exactly(tmp_path: Path) -> None:
    config = tiny(*SETTINGS, "callbacks=no_samples", "callbacks.checkpoints.every_n_steps=2")
    whole = train(config, tmp_path / "whole")
    killed(config, tmp_path / "parts", batch=9)
    train(config, tmp_path / "parts")
    for name in ("state_dict", "optimizer_states", "global_step"):
        assert differences(whole[name], last(tmp_path / "parts")[name], name) == []


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path: Path) -> None:
    config = tiny(*SETTINGS, "trainer.precision=64-true", "callbacks=no_samples")
    alone = train(config, tmp_path / "one" / "version_0")
    train_in_two_processes(config, tmp_path / "two" / "version_0")
    together = last(tmp_path / "two" / "version_0")
    for name, weight in alone["state_dict"].items():
        if isinstance(weight, torch.Tensor):
            torch.testing.assert_close(together["state_dict"][name], weight, rtol=1e-8, atol=1e-10, msg=name)


def test_images_are_edited_under_a_condition(run: Path, small: Path, command: Run) -> None:
    edit = ("edit.py", f"ckpt_path={run}", *QUICK, f"image={small / '0.png'}", "resize_mode=resize", "save=[npz]")
    done = command(*edit, f"condition={small / '1.png'}", "out=edited")
    assert done.returncode == 0, done.stderr
    assert (small.parent / "edited" / "samples.npz").is_file()
    refused(
        command(*edit, "out=other"),
        "condition: images are needed, on which this model is conditioned, of 1x8x8 (channels, height, width)",
    )
