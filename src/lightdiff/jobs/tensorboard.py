"""The TensorBoard logger of a run: its events lie in the run's folder, and every tag has a description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, DATA_CLASS_SCALAR
from torch.utils.tensorboard import FileWriter, SummaryWriter

from lightdiff.jobs.event_file import VERSION, EventFile

_METRICS = {
    "fid": "Fréchet distance between the features of samples and of real images. Small is good.",
    "kid": "Kernel distance between the features of samples and of real images. Small is good.",
    "is": "Inception score: how sure a classifier is of each sample, and how varied its answers are. Large is good.",
    "precision": "Share of the samples that lie among the real images. Large is good.",
    "recall": "Share of the real images that lie among the samples. Large is good.",
    "prompt_accuracy": "Share of the samples in which a classifier sees the class that was asked for. Large is good.",
    "confident": "Share of the samples that a classifier is sure of. Large is good.",
    "synthetic_accuracy": "Accuracy on real images of a classifier trained on samples. Large is good.",
}

DESCRIPTIONS = {
    "loss": "Training and validation loss in one chart: the curves train/loss and val/loss.",
    "train/loss": "Mean loss of the images since the last point.",
    "train/loss_epoch": "Mean loss of the images of an epoch.",
    "train/loss_q1": "Loss of the images with t in (0, 1/4]: almost clean.",
    "train/loss_q2": "Loss of the images with t in (1/4, 1/2].",
    "train/loss_q3": "Loss of the images with t in (1/2, 3/4].",
    "train/loss_q4": "Loss of the images with t in (3/4, 1]: almost pure noise.",
    "train/lr": "Learning rate.",
    "train/grad_norm": "L2 norm of the gradient before clipping.",
    "train/images_per_second": "Training images a second, all processes together, without validation and sampling.",
    "val/loss": "Loss on the validation images, with the averaged weights where there are any.",
    "data/first": "The first training image, with its label.",
    "data/data": "Training images, with their labels where there are several classes.",
    "data/forward": "Training images from t = 0 (left) to t = 1 (right).",
    "data/noisy": "Images, the same with noise (t grows to the right) clipped to their range, and without clipping.",
    "samples/grid": "Samples, from the same noise every time.",
    "samples/strip": "How the first of them arises, with the time t above each stage.",
    "samples/denoising": "How these samples arise from noise; at most 16 of them, and all in the GIF beside the run's pictures.",
    "samples/steps": "The same noise after few and after more steps of the sampler, a row for each number of steps.",
    "samples/prediction": "Validation images, the same with noise (t grows to the right), and the network's guess of the image.",
    "plots/loss": "Training and validation loss against optimizer steps.",
    "plots/schedule_scales": "alpha(t) and sigma(t): a noisy image is alpha * image + sigma * noise.",
    "plots/schedule_log_snr": "log(alpha^2 / sigma^2) against t.",
    "plots/schedule_density": "How often each log-SNR is trained on.",
    **{f"eval/{name}": sentence for name, sentence in _METRICS.items()},
    **{f"eval/{name}_by_images": f"By training images seen. {sentence}" for name, sentence in _METRICS.items()},
}
"""Tag -> the sentence that TensorBoard shows beside it."""

KINDS = {"simple_value": ("scalars", DATA_CLASS_SCALAR), "image": ("images", DATA_CLASS_BLOB_SEQUENCE)}
"""Kind of value -> the plugin that shows it and the class of data, without which TensorBoard drops a description."""

TOGETHER = {"train/loss": "training", "val/loss": "validation"}
"""Curves of the chart `loss`: tag -> folder below the run's. TensorBoard takes each folder for a run, and draws the curves
that several runs have under one tag in one chart."""


class TensorBoard(TensorBoardLogger):
    """Write events right into the run's folder, and the two losses once more as the chart `loss`.

    Args:
        folder: the run's folder.
        purge_step: TensorBoard forgets the points from this step on, which the resumed run draws again; None: none.
    """

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        self._folder, self._purge_step = folder, purge_step
        super().__init__(
            folder.parent.parent,
            name=folder.parent.name,
            version=folder.name,
            default_hp_metric=False,
            purge_step=purge_step,
        )
        self._losses: dict[str, SummaryWriter] = {}

    @property
    def log_dir(self) -> str:
        # Lightning's would replace $HOME and ~ in the names of folders
        return str(self._folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = RunWriter(self._folder, self._purge_step)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        for tag, name in TOGETHER.items():
            if tag in metrics:
                self._loss_writer(name).add_scalar("loss", metrics[tag], step)

    def _loss_writer(self, name: str) -> SummaryWriter:
        # made with the first point: a run that is refused before its first step leaves no folder
        if name not in self._losses:
            self._losses[name] = RunWriter(self._folder / name, self._purge_step)
        return self._losses[name]

    @rank_zero_only
    def save(self) -> None:
        # Lightning's would also write hparams.yaml, which is empty here: config.yaml holds the settings
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        for writer in self._losses.values():
            writer.close()


class RunWriter(SummaryWriter):
    """A `SummaryWriter` that begins a new file after all others in its folder, and describes each tag.

    Args:
        folder: the folder of its files.
        purge_step: TensorBoard forgets the points of the files before it from this step on; None: none.
    """

    # torch declares both as None
    file_writer: Any
    all_writers: Any

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        super().__init__(str(folder), purge_step=purge_step)

    def _get_file_writer(self) -> FileWriter:
        # SummaryWriter would make one of torch's file writers here
        if self.file_writer is None:
            self.file_writer = DescribingFile(Path(self.log_dir))
            self.all_writers = {self.log_dir: self.file_writer}
            if self.purge_step is not None:
                for event in (Event(file_version=VERSION), Event(session_log=SessionLog(status=SessionLog.START))):
                    self.file_writer.add_event(event, self.purge_step)
                self.purge_step = None
        writer: FileWriter = self.file_writer
        return writer


class DescribingFile(FileWriter):
    """An event file that says with the first value of each tag what the tag means."""

    def __init__(self, folder: Path) -> None:
        # in place of torch's constructor, which would make a file with a name of its own
        self.event_writer = EventFile(folder)
        self._described: set[str] = set()

    def add_event(self, event: Any, step: int | None = None, walltime: float | None = None) -> None:
        for value in event.summary.value:
            if value.tag in DESCRIPTIONS.keys() - self._described:
                self._described.add(value.tag)
                plugin, data_class = KINDS[value.WhichOneof("value")]
                value.metadata.summary_description = DESCRIPTIONS[value.tag]
                value.metadata.plugin_data.plugin_name = plugin
                value.metadata.data_class = data_class
        super().add_event(event, step, walltime)
