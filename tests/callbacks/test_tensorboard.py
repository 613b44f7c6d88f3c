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
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, DATA_CLASS_SCALAR
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from lightdiff import DiffSet, DiffusionModel
from lightdiff.callbacks import RunRecord
from lightdiff.core import FlowPrediction, FlowSchedule
from lightdiff.jobs.tensorboard import DESCRIPTIONS
from lightdiff.networks import UNet
from runs import ROOT, killed, plotted, scalars, train

STEPS_OF_POINTS = [3, 6, 9, 12]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits" / "version_0"
    train(plotted("callbacks.samples.frame_every=1", "callbacks.samples.hold_frames=4"), folder)
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
    plots = {f"plots/{name}" for name in ("loss", "schedule_scales", "schedule_log_snr", "schedule_density")}
    data = {f"data/{name}" for name in ("first", "data", "forward", "noisy")}
    assert {"samples/grid", "samples/denoising", *data, *plots} == set(events.Tags()["images"])
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


def hparams(events: EventAccumulator) -> dict[str, plugin_data_pb2.HParamsPluginData]:
    """What the HParams tab is made from, by tag."""
    return {
        tag: plugin_data_pb2.HParamsPluginData.FromString(summary.plugin_data.content)
        for tag, summary in events.summary_metadata.items()
        if summary.plugin_data.plugin_name == metadata.PLUGIN_NAME
    }


def test_hparams_hold_the_parts_and_ten_numbers(events: EventAccumulator) -> None:
    settings = hparams(events)[metadata.SESSION_START_INFO_TAG].session_start_info.hparams
    words = {name: value.string_value for name, value in settings.items() if value.HasField("string_value")}
    assert words == {
        "dataset.name": "digits",
        "model": "UNet",
        "schedule": "DiscreteSchedule, linear_betas",
        "objective.prediction": "EpsilonPrediction",
        "objective.weighting": "UnitWeighting",
        "conditioning": "none",
        "optimizer": "Adam",
        "lr_scheduler": "Constant",
    }
    numbers = {name: value.number_value for name, value in settings.items() if name not in words}
    assert len(numbers) <= 10 and numbers["parameters"] > 1000
    assert numbers["optimizer.lr"] == pytest.approx(2e-4)
    assert (numbers["seed"], numbers["dataset.batch_size"], numbers["dataset.image_size"]) == (0, 16, 16)
    assert (numbers["ema_decay"], numbers["trainer.max_epochs"]) == (0.999, 2)


def test_metrics_of_hparams_are_curves_and_no_points_of_their_own(run: Path, events: EventAccumulator) -> None:
    experiment = hparams(events)[metadata.EXPERIMENT_TAG].experiment
    assert {metric.name.tag for metric in experiment.metric_infos} == {"val/loss", "train/loss_epoch"}
    curves = scalars(run)
    assert {"val/loss", "train/loss_epoch"} <= curves.keys()
    assert not [tag for tag, points in curves.items() if min(step for step, _ in points) == 0]
    assert not (run / "hparams.yaml").exists()


def test_hparams_in_plain_python(tmp_path: Path) -> None:
    network = UNet(widths=[8, 16], attention_levels=[], image_size=16)
    model = DiffusionModel(network, FlowSchedule(), prediction=FlowPrediction())
    logger = TensorBoardLogger(tmp_path, name="runs", version="plain")
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(max_steps=2, accelerator="cpu", logger=logger, callbacks=[RunRecord()], **quiet)
    trainer.fit(model, DiffSet("digits", batch_size=32))
    accumulator = EventAccumulator(str(tmp_path / "runs" / "plain"))
    accumulator.Reload()
    settings = hparams(accumulator)[metadata.SESSION_START_INFO_TAG].session_start_info.hparams
    expected = {"model": "UNet", "schedule": "FlowSchedule", "objective.prediction": "FlowPrediction"}
    assert {name: settings[name].string_value for name in expected} == expected
    assert settings["dataset.batch_size"].number_value == 32


def test_both_losses_in_one_chart(run: Path) -> None:
    """TensorBoard draws the curves that several runs have under one tag into one chart, and takes each folder for a run."""
    curves = scalars(run)
    assert scalars(run / "training") == {"loss": curves["train/loss"]}
    assert scalars(run / "validation") == {"loss": curves["val/loss"]}


def test_a_resumed_run_draws_that_chart_once(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    killed(plotted(), folder, batch=10)
    train(plotted(), folder)
    for name, steps in (("training", STEPS_OF_POINTS), ("validation", [7, 14])):
        assert [step for step, _ in scalars(folder / name)["loss"]] == steps


def test_every_tag_says_what_it_means(run: Path, events: EventAccumulator) -> None:
    tags = [tag for kind in ("scalars", "images") for tag in events.Tags()[kind]]
    assert len(tags) > 15
    for tag in tags:
        summary = events.summary_metadata[tag]
        assert summary.summary_description == DESCRIPTIONS[tag]
        # TensorBoard's fast reader drops the description of a point that does not name its class of data
        assert summary.data_class in (DATA_CLASS_SCALAR, DATA_CLASS_BLOB_SEQUENCE)


def test_metrics_of_samples_say_what_they_mean() -> None:
    figures = [path.stem for path in (ROOT / "conf" / "metrics").glob("*.yaml")]
    figures = [name for name in figures if name != "precision_recall"] + ["precision", "recall", "confident"]
    assert {f"eval/{name}{by}" for name in figures for by in ("", "_by_images")} <= DESCRIPTIONS.keys()


def test_result_file(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert (result["epochs"], result["steps"]) == (2, 14)
    assert result["metrics"]["val/loss"] == pytest.approx(scalars(run)["val/loss"][-1][1])
    assert result["measured_at"] == {"val/loss": 14, "train/loss_epoch": 14}


def test_sample_files(run: Path) -> None:
    names = sorted(path.name for path in (run / "samples").iterdir())
    steps = [f"step_{step:07d}.{kind}" for step in (7, 14) for kind in ("gif", "png")]
    assert names == ["data.png", "first.png", "forward.png", "noisy.png", *steps]
    with Image.open(run / "samples" / "forward.png") as strip:
        pixels = np.asarray(strip).astype(float)
    first, last = pixels[:, : pixels.shape[1] // 10], pixels[:, -pixels.shape[1] // 10 :]
    assert np.abs(np.diff(last)).mean() > 2 * np.abs(np.diff(first)).mean()  # from image to noise
    grid = iio.imread(run / "samples" / "step_0000014.png")
    assert grid.ndim == 2  # grayscale stays grayscale
    assert grid.std() > 10
