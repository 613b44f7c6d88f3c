"""What a run leaves in TensorBoard and in its folder."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import yaml
from PIL import Image, ImageSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runs import scalars, tiny, train

STEPS_OF_POINTS = [3, 6, 9, 12]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits" / "version_0"
    train(tiny("callbacks.samples.frame_every=1", "callbacks.samples.hold_frames=4"), folder)
    return folder


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


@pytest.mark.parametrize("name", ["loss", "lr", "grad_norm", "images_per_second"])
def test_curves_by_step(run: Path, name: str) -> None:
    points = scalars(run)[f"train/{name}"]
    assert [step for step, _ in points] == STEPS_OF_POINTS
    assert all(value > 0 and np.isfinite(value) for _, value in points)


def test_loss_by_quarter_of_t_averages_to_the_loss(run: Path) -> None:
    curves = scalars(run)
    for i, (_, loss) in enumerate(curves["train/loss"]):
        quarters = [curves[f"train/loss_q{k}"][i][1] for k in (1, 2, 3, 4)]
        assert min(quarters) < loss < max(quarters)


def test_curves_by_epoch(run: Path) -> None:
    curves = scalars(run)
    assert len(curves["val/loss"]) == len(curves["train/loss_epoch"]) == 2


def test_no_point_twice(run: Path) -> None:
    for tag, points in scalars(run).items():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps)), tag


def test_sample_grids_and_a_moving_gif(events: EventAccumulator) -> None:
    assert {"samples/grid", "samples/denoising", "data/data", "data/forward", "plots/loss", "plots/schedule"} == set(
        events.Tags()["images"]
    )
    gif = events.Images("samples/denoising")[-1].encoded_image_string
    assert gif[:4] == b"GIF8"
    with Image.open(io.BytesIO(gif)) as image:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(image)]
    assert len(frames) >= 4  # x_3, x_2, x_1, x_0, held (equal frames are merged)
    assert all((left != right).any() for left, right in pairwise(frames[:4]))


def test_configuration_as_text(events: EventAccumulator, run: Path) -> None:
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "learning" not in text
    config = yaml.safe_load("\n".join(line[4:] for line in text.splitlines()))
    assert config == yaml.safe_load((run / "config.yaml").read_text())


def test_hparams_hold_settings_and_final_metrics(run: Path) -> None:
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0})
    accumulator.Reload()
    contents = accumulator.summary_metadata.values()
    starts = []
    for path in run.rglob("events.out.tfevents.*"):
        part = EventAccumulator(str(path))
        part.Reload()
        for summary in part.summary_metadata.values():
            if summary.plugin_data.plugin_name == metadata.PLUGIN_NAME:
                data = plugin_data_pb2.HParamsPluginData.FromString(summary.plugin_data.content)
                if data.HasField("session_start_info"):
                    starts.append(data.session_start_info)
    assert contents
    assert len(starts) == 1
    settings = starts[0].hparams
    assert settings["optimizer.lr"].number_value == pytest.approx(2e-4)
    assert settings["dataset.name"].string_value == "digits"
    final = {tag: points[-1][1] for tag, points in scalars(run).items() if tag.startswith("final/")}
    assert final["final/val/loss"] == pytest.approx(scalars(run)["val/loss"][-1][1])


def test_result_file(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert (result["epochs"], result["steps"]) == (2, 14)
    assert result["metrics"]["val/loss"] == pytest.approx(scalars(run)["val/loss"][-1][1])


def test_sample_files(run: Path) -> None:
    names = sorted(path.name for path in (run / "samples").iterdir())
    steps = [f"step_{step:07d}.{kind}" for step in (7, 14) for kind in ("gif", "png")]
    assert names == ["data.png", "forward.png", *steps]
    with Image.open(run / "samples" / "forward.png") as strip:
        pixels = np.asarray(strip).astype(float)
    first, last = pixels[:, : pixels.shape[1] // 10], pixels[:, -pixels.shape[1] // 10 :]
    assert np.abs(np.diff(last)).mean() > 2 * np.abs(np.diff(first)).mean()  # from image to noise
    grid = iio.imread(run / "samples" / "step_0000014.png")
    assert grid.ndim == 2  # grayscale stays grayscale
    assert grid.std() > 10
