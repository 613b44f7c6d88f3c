"""The strip that is drawn while training: one image from noise to the result, in evenly spaced stages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightdiff import load_model
from lightdiff.callbacks import SampleImages
from lightdiff.callbacks.strips import Strip
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.trainer import build_callbacks
from lightdiff.samplers import DDIM
from lightdiff.utils.captions import CAPTIONED
from lightdiff.utils.images import to_uint8
from runs import composed, tiny, train

STAGES = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, with a strip after each."""
    folder = tmp_path_factory.mktemp("runs") / "version_0"
    settings = (f"callbacks.samples.strip_stages={STAGES}", "sampler.num_steps=9", "callbacks.samples.rows=1")
    train(tiny(*settings, "trainer.limit_train_batches=2", "trainer.log_every_n_steps=1"), folder)
    return folder


def cells(path: Path, side: int = 16) -> list[np.ndarray]:
    """The images of a strip in their own size, from left to right."""
    picture = np.asarray(Image.open(path))
    factor = 2 * -(-CAPTIONED // (2 * (STAGES * (side + 1) + 1)))
    row = picture[-factor * (side + 2) :, -factor * (STAGES * (side + 1) + 1) :][::factor, ::factor]
    return [row[1 : side + 1, 1 + i * (side + 1) : (i + 1) * (side + 1)] for i in range(STAGES)]


def test_a_strip_shows_the_stages_of_the_first_image(run: Path) -> None:
    strips = sorted((run / "samples").glob("strip_*.png"))
    assert [path.name for path in strips] == ["strip_0000002.png", "strip_0000004.png"]
    states = list(load_model(run).trajectory(3, sampler="ddim", num_steps=9, seed=0))
    assert [states[i].t for i in (0, 3, 6, 9)] == pytest.approx([1, 2 / 3, 1 / 3, 0], abs=1e-3)
    expected = [to_uint8(states[i].x_t[0].clamp(-1, 1))[0].numpy() for i in (0, 3, 6, 9)]
    for found, wanted in zip(cells(strips[-1]), expected, strict=True):
        assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
    # the noise is the same at every epoch, and the result is the first image of the grid
    first, last = cells(strips[0]), cells(strips[1])
    assert np.array_equal(first[0], last[0])
    assert not np.array_equal(first[-1], last[-1])
    grid = np.asarray(Image.open(run / "samples" / "step_0000004.png"))
    assert np.array_equal(grid[:: grid.shape[0] // 18, :: grid.shape[0] // 18][1:17, 1:17], last[-1])


def test_tensorboard_shows_it(run: Path) -> None:
    events = EventAccumulator(str(run), size_guidance={"images": 0})
    events.Reload()
    assert [point.step for point in events.Images("samples/strip")] == [2, 4]


def test_a_resumed_run_forgets_the_strips_beyond_its_step(run: Path, tmp_path: Path) -> None:
    stray = run / "samples" / "strip_0000099.png"
    stray.write_bytes((run / "samples" / "strip_0000004.png").read_bytes())
    config = tiny(f"callbacks.samples.strip_stages={STAGES}", "sampler.num_steps=9", "callbacks.samples.rows=1")
    config["trainer"] |= {"limit_train_batches": 2, "log_every_n_steps": 1, "max_epochs": 3}
    write_config(run, config)
    train(config, run)
    assert not stray.exists()
    assert (run / "samples" / "strip_0000006.png").is_file()


@pytest.mark.parametrize(("stages", "steps"), [(10, 300), (10, 30), (10, 9), (10, 4), (2, 1)])
def test_stages_are_evenly_spaced_and_hold_both_ends(stages: int, steps: int) -> None:
    strip = Strip(stages, steps)
    for i in range(steps + 1):
        x_t = torch.full((2, 1, 4, 4), float(i))
        strip.add(i, 1 - i / steps, x_t)
    chosen = [int(image[0, 0, 0]) for image in strip.images]
    assert len(chosen) == min(stages, steps + 1)
    assert (chosen[0], chosen[-1]) == (0, steps)
    gaps = {after - before for before, after in pairwise(chosen)}
    assert max(gaps) - min(gaps) <= 1
    assert strip.times == pytest.approx([1 - i / steps for i in chosen])


def test_the_cars_tutorial_draws_one_every_five_epochs() -> None:
    (callback,) = (found for found in build_callbacks(composed("experiment=cars")) if isinstance(found, SampleImages))
    assert (callback.strip_stages, callback.every_n_epochs) == (10, 5)


@pytest.mark.parametrize("stages", [1, 0, -3, 1001])
def test_a_number_out_of_range_is_refused(stages: int) -> None:
    with pytest.raises(ValueError, match=rf"^strip_stages={stages}: 2 to 1000 or null \(no strip\) is expected$"):
        SampleImages(DDIM(), 5, strip_stages=stages)
