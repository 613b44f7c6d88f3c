"""The loggers MLflow, Trackio and Weights & Biases offline: curves, pictures and texts, read back by their own readers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, Logger
from torch import Tensor

from lightdiff.callbacks.boards import BOARDS, board_of
from lightdiff.callbacks.show import show_animation, show_image, show_text
from lightdiff.callbacks.tolerance import tolerate
from lightdiff.jobs.ledger import Ledger, Remembering
from lightdiff.jobs.mlflow import MLflowLogger
from lightdiff.jobs.run_config import write_config
from lightdiff.jobs.trackio import TrackioLogger
from lightdiff.jobs.wandb import Wandb
from runs import TINY, killed, tiny, train

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


class Told(Logger):
    """A logger that writes down what it is told, and fails from a step on."""

    name, version = "told", 0

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.lines: list[Any] = []
        self.fails_at = fails_at

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if self.fails_at is not None and (step or 0) >= self.fails_at:
            raise ConnectionError("the server\nis gone")
        self.lines.append((step, dict(metrics)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.lines.append("settings")


class TrackioLike(Remembering, Told):
    """A logger that remembers, with a fake of Trackio's run."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.ledger = Ledger(folder, "told")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What boards of `Told` are shown."""
    found: list[Any] = []

    class Shown:
        def __init__(self, logger: Any) -> None:
            pass

        def image(self, tag: str, image: Tensor, step: int) -> None:
            found.append((tag, tuple(image.shape), step))

        def animation(self, tag: str, animation: Any, step: int) -> None:
            found.append((tag, animation.gif, animation.shape, step))

        def text(self, tag: str, text: str, step: int) -> None:
            if text == "broken":
                raise OSError("no space")
            found.append((tag, text, step))

    monkeypatch.setitem(BOARDS, "Told", Shown)
    return found


def trainer_of(*loggers: Logger, folder: Path) -> Trainer:
    return Trainer(logger=[*loggers], default_root_dir=folder, accelerator="cpu", enable_checkpointing=False)


def test_every_kind_of_content_reaches_all_loggers_that_show_it(shown: list[Any], tmp_path: Path) -> None:
    trainer = trainer_of(Told(), CSVLogger(tmp_path), Told(), folder=tmp_path)
    show_image(trainer, "a/b", torch.zeros(3, 4, 5, dtype=torch.uint8))
    show_animation(trainer, "c", b"GIF8", (1, 2, 3), step=7)
    show_text(trainer, "d", "two\nlines", step=8)
    expected = [("a/b", (3, 4, 5), 0), ("c", b"GIF8", (1, 2, 3), 7), ("d", "two\nlines", 8)]
    assert shown == [each for each in expected for _ in range(2)]
    assert board_of(CSVLogger(tmp_path)) is None


def test_a_resumed_run_shows_and_logs_nothing_twice(shown: list[Any], tmp_path: Path) -> None:
    for _ in range(2):
        logger = TrackioLike(tmp_path)
        trainer = trainer_of(logger, folder=tmp_path)
        for step in (3, 6):
            show_text(trainer, "d", "text", step=step)
        assert logger.unseen(["train/loss", "val/loss"], 6) == (["train/loss", "val/loss"] if _ == 0 else [])
        assert logger.unseen(["train/loss"], 9 + _) == ["train/loss"]
    assert shown == [("d", "text", 3), ("d", "text", 6)]
    (tmp_path / "loggers" / "told.json").write_text("{")
    with pytest.raises(ValueError, match="garbled"):
        TrackioLike(tmp_path).unseen(["a"], 1)


def test_a_logger_that_fails_later_costs_one_line(
    shown: list[Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    first, second = tolerate(Told(fails_at=5), "logger.first"), Told()
    trainer = trainer_of(first, second, folder=tmp_path)
    for step in (1, 5, 6):
        for logger in trainer.loggers:
            logger.log_metrics({"loss": 1.0}, step)
        show_text(trainer, "d", "text", step=step)
    assert first.lines == [(1, {"loss": 1.0})] and len(second.lines) == 3  # type: ignore[attr-defined]
    assert [step for *_, step in shown] == [1, 1, 5, 6]
    lines = [record.getMessage() for record in caplog.records if "logger.first" in record.getMessage()]
    assert lines == [
        "logger.first: this logger failed and gets nothing more, and the training goes on without it (ConnectionError: the "
        "server is gone)"
    ]


def test_a_picture_that_fails_counts_as_well(shown: list[Any], tmp_path: Path) -> None:
    logger = tolerate(Told(), "logger.told")
    trainer = trainer_of(logger, folder=tmp_path)
    logger.log_metrics({"loss": 1.0}, 1)
    for text in ("good", "broken", "late"):
        show_text(trainer, "d", text)
    assert shown == [("d", "good", 0)]


def test_a_logger_that_cannot_begin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^logger\.told: this logger cannot begin \(ConnectionError: the server is gone\)$"
    ):
        tolerate(Told(fails_at=0), "logger.told").log_metrics({"loss": 1.0}, 1)


def test_a_failing_logger_does_not_end_a_run_and_one_that_cannot_begin_does(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = (
        "from pytorch_lightning.loggers import Logger\n\n"
        + """
class Fails(Logger):
    name, version = "fails", 0
    def __init__(self, at=0):
        super().__init__()
        self.at = at
    def log_metrics(self, metrics, step=None):
        if step >= self.at:
            raise RuntimeError("gone")
    def log_hyperparams(self, *args, **kwargs):
        if self.at == 0:
            raise RuntimeError("no such server")
"""
    )
    (tmp_path / "failing_lab.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    short = (*TINY, "trainer.max_epochs=1", "callbacks=no_samples", "logger._target_=failing_lab.Fails")
    done = command("train.py", *short, "+logger.at=6")
    assert done.returncode == 0, done.stderr
    assert [record.getMessage().startswith("logger: this logger failed") for record in caplog.records].count(True) == 1
    done = command("train.py", *short)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "logger: this logger cannot begin (RuntimeError: no such server)" in done.stderr
    assert [path.name for path in (tmp_path / "lightning_logs" / "digits").iterdir()] == ["version_0"]


def test_nothing_is_made_before_the_training_begins(tmp_path: Path) -> None:
    folder = tmp_path / "lightning_logs" / "digits" / "version_0"
    folder.mkdir(parents=True)
    for kind in (lambda: MLflowLogger(folder, "a", None), lambda: TrackioLogger(folder, "a"), lambda: _wandb(folder)):
        kind()
    assert not [*folder.iterdir()] and len([*folder.parent.parent.iterdir()]) == 1


def _wandb(folder: Path) -> Wandb | None:
    try:
        import wandb  # noqa: F401
    except ImportError:
        return None
    return Wandb(folder, "a", True, None)


TAGS = {"samples/grid", "data/data", "data/first", "data/forward", "data/noisy"}


@pytest.fixture
def twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Path]]:
    """Train, be killed with points that no checkpoint has, and go on."""

    def train_twice(*settings: str) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TRACKIO_DIR", "")
        config = tiny("callbacks.samples.rows=1", "callbacks.samples.columns=2", *settings)
        run = tmp_path / "lightning_logs" / "digits" / "version_0"
        killed(config, run, batch=11)
        # a setting that may change, and that loggers know as a hyper-parameter
        write_config(run, {**config, "trainer": {**config["trainer"], "max_epochs": 3}})
        train(config, run)
        assert "this logger failed" not in caplog.text, caplog.text
        return run

    yield train_twice


@pytest.mark.slow
def test_mlflow(twice: Callable[..., Path], tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    twice("logger=mlflow")
    home = tmp_path / "lightning_logs" / "mlflow"
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("lightdiff").experiment_id])
    assert run.info.run_name == "digits-version_0" and run.info.status == "FINISHED"
    assert run.data.params["model"] == "UNet" and run.data.params["trainer.max_epochs"] == "2"
    assert run.data.tags["trainer.max_epochs"] == "3"
    points = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
    assert points == [3, 6, 9, 12, 15, 18, 21]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")] == [7, 14, 21]
    names = {file.path for file in client.list_artifacts(run.info.run_id, "images")}
    assert all(any(tag.replace("/", "~") in name for name in names) for tag in TAGS)
    gifs = {file.path for file in client.list_artifacts(run.info.run_id, "samples")}
    assert gifs == {f"samples/denoising_00000{step}.gif" for step in ("07", "14", "21")}
    text = Path(client.download_artifacts(run.info.run_id, "config.txt", str(tmp_path))).read_text()
    assert "dataset:\n" in text
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.slow
def test_trackio(twice: Callable[..., Path], tmp_path: Path) -> None:
    # Trackio reads its folder from the environment when it is imported
    if find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    twice("logger=trackio")
    home = tmp_path / "lightning_logs" / "trackio"
    import sqlite3

    with sqlite3.connect(home / "lightdiff.db") as database:
        rows = database.execute("select run_id, run_name, step, metrics from metrics order by step").fetchall()
        configs = database.execute("select config from configs").fetchall()
    assert len({(run_id, name) for run_id, name, *_ in rows}) == 1 and rows[0][1] == "digits-version_0"
    logged = [(step, json.loads(metrics)) for _, _, step, metrics in rows]
    for name, steps in {
        "train/loss": [3, 6, 9, 12, 15, 18, 21],
        "val/loss": [7, 14, 21],
        "samples/grid": [7, 14, 21],
        "config": [0],
    }.items():
        assert [step for step, metrics in logged if name in metrics] == steps, name
    for name, kind in {"samples/grid": "png", "samples/denoising": "gif", "data/first": "png"}.items():
        (content, *_) = (metrics[name] for _, metrics in logged if name in metrics)
        assert (home / "media" / content["file_path"]).suffix == f".{kind}"
        assert (home / "media" / content["file_path"]).stat().st_size > 50
    assert json.loads(configs[0][0])["model"] == "UNet"


def records(file: Path) -> Iterator[bytes]:
    """The records of a file of W&B: after 7 bytes a log of LevelDB, blocks of parts with a checksum, a length and a kind."""
    content, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        # whole, or the last of several
        if kind in (1, 4):
            yield parts
            parts = b""


@pytest.mark.slow
def test_wandb_offline(twice: Callable[..., Path]) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    run = twice("logger=wandb", "logger.wandb.offline=true")
    points: dict[str, list[int]] = {}
    ids = set()
    files = sorted((run / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    for file in files:
        for data in records(file):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                # a picture has an item for each of its facts
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
                for name in row:
                    points.setdefault(name, []).append(row["trainer/global_step"])
    assert ids == {json.loads((run / "loggers" / "wandb.json").read_text())["id"]}
    assert points["train/loss"] == [3, 6, 9, 12, 15, 18, 21] and points["val/loss"] == [7, 14, 21]
    assert points["samples/grid"] == points["samples/denoising"] == [7, 14, 21]
    assert TAGS | {"config"} <= points.keys()
    media = [path for path in (run / "wandb").rglob("media/**/*") if path.is_file()]
    assert {path.suffix for path in media} >= {".png", ".gif", ".html"}
