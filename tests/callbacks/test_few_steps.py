"""Pictures of what few steps make of the same noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightdiff import load_model
from lightdiff.callbacks import CompareSteps
from lightdiff.samplers import DDIM, Renoise
from lightdiff.utils.captions import TOP, widened
from lightdiff.utils.images import make_grid, to_uint8
from runs import TINY, differences, tiny, train, train_in_two_processes

FEW = ("callbacks=few_step", "callbacks.few_step.columns=3", "callbacks.samples.every_n_epochs=9")


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(Image.open(path)) for path in sorted((folder / "samples").glob("steps_*.png"))}


def test_rows_are_the_samples_of_so_many_steps_from_the_same_noise(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    train(tiny(*FEW, "sampler=renoise", "objective=consistency", "callbacks.few_step.every_n_epochs=3"), folder)
    found = pictures(folder)
    # there is one at the end, whatever every_n_epochs is
    assert list(found) == ["steps_0000014"]
    model = load_model(folder)
    rows = [
        model.sample(3, sampler=Renoise(clip_denoised=True), num_steps=num_steps, seed=0) for num_steps in (1, 2, 4)
    ]
    expected = widened(make_grid(to_uint8(torch.cat(rows)), 3))[0].numpy()
    # captions are above and on the left
    assert np.array_equal(found["steps_0000014"][TOP:, -expected.shape[1] :], expected)
    assert found["steps_0000014"].shape[1] > expected.shape[1]
    assert not torch.equal(rows[0], rows[2])
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    assert [event.step for event in events.Images("samples/steps")] == [14]


def test_training_is_not_disturbed(tmp_path: Path) -> None:
    few = ("sampler=renoise", "conditioning=label", "callbacks.few_step.steps=[2,1]")
    states = [
        train(tiny("conditioning=label", "callbacks.samples=null", *settings), tmp_path / name / "version_0")[
            "state_dict"
        ]
        for name, settings in (("drawn", [*FEW[:2], *few]), ("plain", []))
    ]
    assert differences(*states) == []
    assert list(pictures(tmp_path / "drawn" / "version_0")) == ["steps_0000007", "steps_0000014"]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 3])
def test_two_processes_draw_what_one_draws(columns: int, tmp_path: Path) -> None:
    config = tiny(*FEW, f"callbacks.few_step.columns={columns}", "trainer.precision=64-true", "trainer.max_epochs=1")
    train(config, tmp_path / "one" / "version_0")
    train_in_two_processes(config, tmp_path / "two" / "version_0")
    one, two = (pictures(tmp_path / name / "version_0") for name in ("one", "two"))
    assert np.array_equal(one["steps_0000007"], two["steps_0000007"])


def test_impossible_settings_are_refused(command: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    for settings, message in (
        ({"steps": []}, r"^steps=\[\]: a list of at least one number from 1 up is expected"),
        ({"steps": [1, 0]}, r"^steps=\[1, 0\]: "),
        ({"columns": 0}, "^columns=0: 1 to 1000 is expected"),
        ({"every_n_epochs": 0}, "^every_n_epochs=0: "),
    ):
        with pytest.raises(ValueError, match=message):
            CompareSteps(DDIM(), **settings)
    for override, message in (
        ("callbacks.few_step.steps=[1,0]", "callbacks.few_step.steps=[1, 0]: a list of at least one number"),
        ("callbacks.few_step.steps=[1,2000]", "callbacks.few_step: num_steps=2000: this schedule has 1000 timesteps"),
        ("callbacks.few_step.labels=[3]", "callbacks.few_step: labels=[3]: this model is unconditional"),
    ):
        done = command("train.py", *TINY, *FEW, override)
        assert done.returncode == 2 and done.stderr.startswith(f"error: {message}"), done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not list(tmp_path.glob("lightning_logs/*/*"))
