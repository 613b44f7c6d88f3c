"""A few-step model in every command that draws: sampler=renoise and ddim in 1, 2 and 4 steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from lightdiff import load_model
from lightdiff.config.build import build_model
from lightdiff.jobs.described import portable
from lightdiff.model import Generation, save_export
from lightdiff.samplers import Renoise
from runs import tiny

Run = Callable[..., CompletedProcess[str]]
QUICK = ("device=cpu", "progress=false")
RENOISE = ("sampler=renoise", "sampler.num_steps=1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported consistency model of ten classes, whose weights are off their first values."""
    folder = tmp_path_factory.mktemp("model")
    config = tiny("objective=consistency", "conditioning=label", "schedule=cosine")
    built = build_model({**config, "ema_decay": None})
    built.dataset = portable(config["dataset"])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    save_export(built, folder, weights="raw")
    return folder


def test_one_step_is_the_same_by_both_samplers_and_more_are_not(model: Path, command: Run, tmp_path: Path) -> None:
    drawn = {}
    for sampler in ("renoise", "ddim"):
        for num_steps in (1, 2, 4):
            out = f"{sampler}_{num_steps}"
            steps = (f"sampler={sampler}", f"sampler.num_steps={num_steps}")
            done = command("sample.py", f"ckpt_path={model}", *QUICK, *steps, "num_samples=3", "save=npz", f"out={out}")
            assert done.returncode == 0, done.stderr
            drawn[out] = np.load(tmp_path / out / "samples.npz")["images"]
    assert np.array_equal(drawn["renoise_1"], drawn["ddim_1"])
    assert len({images.tobytes() for images in drawn.values()}) == 5


def test_all_pictures_of_one_step(model: Path, command: Run, tmp_path: Path) -> None:
    files = "save=[grid,png,npz,gif,strip,steps,history,guidance]"
    few = ("num_samples=3", "hold_frames=2", "guidance_scales=[0,3]")
    done = command("sample.py", f"ckpt_path={model}", *QUICK, *RENOISE, files, *few, "out=drawn")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "drawn" / "process.gif") as gif:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(gif)]
    # the noise and the result
    assert len(frames) == 2 and not np.array_equal(*frames)
    assert len(list((tmp_path / "drawn" / "steps").iterdir())) == 2
    assert {"grid.png", "strip.png", "history.png", "guidance.png"} <= {p.name for p in (tmp_path / "drawn").iterdir()}


def test_guidance_and_clipping_hold_in_a_single_step(model: Path) -> None:
    loaded = load_model(model)

    def result(sampler: Renoise, guidance_scale: float) -> torch.Tensor:
        settings = {"num_steps": 1, "labels": [3], "guidance_scale": guidance_scale}
        return [*Generation.of(loaded, sampler=sampler, **settings).trajectory(loaded, range(2))][-1].x_t

    plain, guided = (result(Renoise(), scale) for scale in (1.0, 4.0))
    assert not torch.equal(plain, guided) and guided.abs().max() > 1
    # the result is x0_hat, so that clipping x0_hat clips the result
    assert torch.equal(result(Renoise(clip_denoised=True), 4.0), guided.clamp(-1, 1))


@pytest.mark.slow
def test_a_grid_over_the_steps_is_tabulated(model: Path, command: Run, tmp_path: Path) -> None:
    few = ("num_samples=20", "dataset=digits", "metrics=[fid]", "sampler=renoise", "sampler.num_steps=1,2,4")
    places = ("out=measured", f"cache_dir={tmp_path / 'cache'}")
    done = command("eval.py", "-m", f"ckpt_path={model}", *QUICK, *few, *places)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in (tmp_path / "measured" / "table.md").read_text().splitlines()[2:]]
    assert [(row[1].strip(), row[2].strip()) for row in rows] == [("renoise", str(count)) for count in (1, 2, 4)]
    assert "(renoise, 1 step, " in done.stdout and "(renoise, 2 steps, " in done.stdout


@pytest.fixture
def photos(tmp_path: Path) -> None:
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:, 8:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")


ADDS_NOISE = "sampler=renoise: task={} needs a sampler that adds no noise; choices: sampler=ddim, "
EDITS = {
    "task=inpaint mask=mask.png": None,
    "task=image_to_image task.strength=1": None,
    "task=image_to_image sampler.num_steps=2": None,
    "task=image_to_image": "task.strength=0.5: a number in [1, 1] is expected with num_steps=1",
    "task=encode": ADDS_NOISE.format("encode"),
    "task=interpolate": ADDS_NOISE.format("interpolate"),
    "task=encode sampler=ddim": None,
    "task=interpolate sampler=ddim": None,
}


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("task", list(EDITS))
def test_each_edit_works_or_is_refused_in_one_line(task: str, model: Path, command: Run, tmp_path: Path) -> None:
    few = ("image=[0.png,1.png]", "save=npz", "out=drawn")
    done = command("edit.py", f"ckpt_path={model}", *QUICK, *RENOISE, *few, *task.split())
    refusal = EDITS[task]
    if refusal is None:
        assert done.returncode == 0, done.stderr
        images = np.load(tmp_path / "drawn" / "samples.npz")["images"]
        assert images.shape[1:] == (16, 16, 1) and images.std() > 5
        if "inpaint" in task:
            given = [np.asarray(Image.open(tmp_path / f"{i}.png"))[..., None] for i in range(2)]
            assert np.array_equal(images[:, :, :8], np.stack(given)[:, :, :8])
    else:
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"error: {refusal}"), done.stderr
        assert not (tmp_path / "drawn").exists()
