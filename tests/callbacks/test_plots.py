"""The noise schedule and the loss curve as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightdiff.utils.plots import log_y, new_figure, pixels
from runs import ROOT, differences, killed, last, plotted, scalars, train

SCHEDULES = sorted(path.stem for path in (ROOT / "conf" / "schedule").glob("*.yaml"))


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_plotted(name: str, tmp_path: Path) -> None:
    train(plotted(f"schedule={name}", "objective=v", "trainer.max_epochs=1"), tmp_path / "version_0")
    with Image.open(tmp_path / "version_0" / "plots" / "schedule.png") as picture:
        assert picture.size == (1200, 300)
        assert np.asarray(picture.convert("L")).std() > 10


def test_the_loss_curve_holds_the_points_of_tensorboard(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    train(plotted(), folder)
    points = last(folder)["callbacks"]["PlotLoss"]
    logged = scalars(folder)
    assert [step for step, _ in points["training"]] == [step for step, _ in logged["train/loss"]] == [3, 6, 9, 12]
    np.testing.assert_allclose([loss for _, loss in points["training"]], [loss for _, loss in logged["train/loss"]])
    assert [step for step, _ in points["validation"]] == [7, 14]
    assert (folder / "plots" / "loss.png").is_file()


def test_a_resumed_run_draws_the_whole_curve(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole" / "version_0", tmp_path / "halves" / "version_0"
    train(plotted(), whole)
    killed(plotted(), halves, batch=10)
    train(plotted(), halves)
    assert last(halves)["callbacks"]["PlotLoss"] == last(whole)["callbacks"]["PlotLoss"]
    assert (halves / "plots" / "loss.png").read_bytes() == (whole / "plots" / "loss.png").read_bytes()


def test_training_is_not_disturbed(tmp_path: Path) -> None:
    with_plots = train(plotted(), tmp_path / "with" / "version_0")["state_dict"]
    none = train(plotted("callbacks=no_samples"), tmp_path / "without" / "version_0")["state_dict"]
    assert differences(none, with_plots) == []


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    figure, (axes,) = new_figure()
    axes.plot([0, 1], [1, 0])
    figure.savefig(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert torch.equal(pixels(figure), torch.from_numpy(expected.copy()).movedim(-1, 0))


@pytest.mark.parametrize("ends", [(0.02, 0.11), (0.0188, 0.03), (0.01, 1.4)])
def test_numbers_beside_a_logarithmic_axis_are_plain(ends: tuple[float, float]) -> None:
    figure, (axes,) = new_figure()
    axes.plot([0, 1], ends)
    log_y(axes)
    figure.draw_without_rendering()
    ticks = [*axes.yaxis.get_majorticklabels(), *axes.yaxis.get_minorticklabels()]
    written = {tick.get_text() for tick in ticks} - {""}
    assert {"0.02", "0.1"} & written
    assert not [text for text in written if "e" in text or "$" in text]
