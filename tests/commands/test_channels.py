"""Images of any number of channels, from the file to the picture of a sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer

from lightdiff import DiffSet, DiffusionModel
from lightdiff.callbacks import SampleImages, ShowData, ShowPredictions
from lightdiff.commands.pictures import FILES, Drawn
from lightdiff.core import DiscreteSchedule, linear_betas
from lightdiff.data import Source, Splits
from lightdiff.data.image_store import MemoryStore
from lightdiff.data.resize import Fit
from lightdiff.metrics import FID, KID, Evaluation, Metric
from lightdiff.metrics.extractor import ClassifierExtractor
from lightdiff.networks import UNet
from lightdiff.samplers import DDIM
from own_photos import LABEL
from runs import composed

Command = Callable[..., CompletedProcess[str]]
SAVED = {"grid": "grid.png", "gif": "process.gif", "mp4": "process.mp4", "strip": "strip.png", "history": "history.png"}


def write_transparent(folder: Path, mode: str) -> None:
    """Write noisy images with transparent parts, of two classes."""
    generator = np.random.default_rng(0)
    for number in range(24):
        path = folder / ("round", "square")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (20, 20, 4), dtype=np.uint8)).convert(mode).save(path)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 4), ("LA", 2)])
def test_a_folder_with_transparency_is_trained_on_drawn_and_kept_whole(
    mode: str, channels: int, command: Command, tmp_path: Path
) -> None:
    write_transparent(tmp_path / "photos", mode)
    words = [word for word in LABEL if not word.startswith("callbacks=")]
    done = command(
        "train.py",
        *words,
        "dataset.batch_size=8",
        f"dataset.channels={channels}",
        "callbacks=predictions",
        "callbacks.predictions.columns=2",
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "folder" / "version_0"
    assert {path.name for path in (run / "samples").iterdir()} >= {"data.png", "forward.png", "prediction_0000002.png"}
    assert len([*(run / "samples").glob("step_*")]) == 2
    save = f"save=[{','.join([*SAVED, 'png', 'npz', 'steps'])}]"
    done = command("sample.py", f"ckpt_path={run}", "num_samples=2", "sampler.num_steps=2", save, "out=drawn")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "drawn" / "samples.npz")["images"].shape == (2, 16, 16, channels)
    assert np.asarray(Image.open(tmp_path / "drawn" / "images" / "00000_round.png")).shape == (16, 16 * channels)
    done = command("eval.py", f"ckpt_path={run}", "num_samples=4", "metrics=[fid,kid]")
    assert done.returncode == 2
    expected = f"metrics=fid, kid: images of 1 or 3 channels are expected, and those of the data set have {channels}"
    assert done.stderr.strip() == f"error: {expected}"


def test_more_channels_than_files_have_are_refused(command: Command, tmp_path: Path) -> None:
    write_transparent(tmp_path / "photos", "RGBA")
    done = command("train.py", *LABEL, "dataset.batch_size=8", "dataset.channels=5")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: dataset.channels=5: choices for image files: 1 (grayscale), 3 (RGB), 2 and 4")
    assert not [*tmp_path.glob("lightning_logs/folder/*")]


class Bands(Source):
    """Images of five channels, such as those of a satellite."""

    usual_channels: ClassVar[int] = 5
    usual_image_size: ClassVar[tuple[int, int]] = (8, 8)

    def load(self, data_dir: Path, channels: int, fit: Fit) -> Splits:
        stores = (MemoryStore(torch.randint(0, 256, (8, 5, 8, 8), dtype=torch.uint8), torch.arange(8)) for _ in "ab")
        return Splits(*stores, tuple("abcdefgh"))


def test_in_python_a_source_may_have_any_number(tmp_path: Path) -> None:
    data = DiffSet("bands", source=Bands(), batch_size=4)
    network = UNet(channels=data.channels, image_size=data.image_size, widths=(8, 8), attention_levels=())
    model = DiffusionModel(network, DiscreteSchedule(linear_betas(10)))
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[SampleImages(DDIM(), num_steps=2), ShowData(2, 2, 3), ShowPredictions(3)],
    )
    trainer.fit(model, data)
    assert model.sample(2, num_steps=2).shape == (2, 5, 8, 8)
    assert np.asarray(Image.open(tmp_path / "samples" / "data.png")).ndim == 2
    drawn = {path.name for path in (tmp_path / "samples").iterdir()}
    assert {"data.png", "forward.png", "prediction_0000002.png", "step_0000002.png", "step_0000002.gif"} <= drawn


def test_metrics_say_that_they_are_for_gray_and_rgb(tmp_path: Path) -> None:
    data = DiffSet("bands", source=Bands(), batch_size=4)
    data.setup()
    metrics: dict[str, Metric] = {"fid": FID(), "kid": KID()}
    expected = "^metrics=fid, kid: images of 1 or 3 channels are expected, and those of the data set have 5$"
    with pytest.raises(ValueError, match=expected):
        Evaluation(metrics, ClassifierExtractor("mnist"), data, num_samples=4, cache_dir=tmp_path)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_files_of_samples_are_written(channels: int, tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (4, 3, channels, 16, 16), dtype=torch.uint8)
    drawn = Drawn(frames[-1], frames, frames.flip(0), frames[:2, :2].flatten(0, 1))
    config = composed("ckpt_path=run", "columns=2", "stages=3", "guidance_scales=[0,2]", name="sample")
    for name in ("grid", "png", "npz", "gif", "mp4", "steps"):
        (tmp_path / name).mkdir()
        FILES[name](drawn, tmp_path / name, config)
        assert [*(tmp_path / name).rglob("*.*")]
