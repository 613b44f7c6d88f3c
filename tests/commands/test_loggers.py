"""Loggers of group logger: those with a name of their own, several of them, and any class that is a Lightning Logger."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightdiff.commands.report.points import read_points
from lightdiff.config.instantiate import ConfigError
from lightdiff.jobs.loggers import build_loggers
from runs import TINY

CSV = "pytorch_lightning.loggers.CSVLogger"
SHORT = (*TINY, "trainer.max_epochs=1", "callbacks=no_samples")
MODULE = '''
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

LOGGED = []


class Lines(Logger):
    """A user's own logger: one line in a file for each thing it is told."""

    def __init__(self, dir, mark="?"):
        super().__init__()
        self.file, self.mark = f"{dir}/lines.txt", mark

    name, version = "lines", 0

    @rank_zero_only
    def log_metrics(self, metrics, step=None):
        self.write(step, *metrics)

    @rank_zero_only
    def log_hyperparams(self, params, *args, **kwargs):
        self.write("hparams", params["model"])

    @rank_zero_only
    def save(self):
        self.write("saved")

    def write(self, *words):
        with open(self.file, "a") as file:
            print(self.mark, *words, file=file)


class NoLogger:
    pass


class Missing(Lines):
    def __init__(self):
        raise ModuleNotFoundError("install the package\\nfor this")
'''


@pytest.fixture(autouse=True)
def mylab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's package, and a conf with its own choice of group logger."""
    folder = tmp_path / "lab"
    (folder / "conf" / "logger").mkdir(parents=True)
    (folder / "mylab_loggers.py").write_text(MODULE)
    (folder / "conf" / "logger" / "mine.yaml").write_text("_target_: mylab_loggers.Lines\nmark: '#'\n")
    (folder / "conf" / "logger" / "named.yaml").write_text("lines:\n  _target_: mylab_loggers.Lines\n")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_class_typed_on_the_command_line_logs_beside_tensorboard(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command("train.py", *SHORT, f"logger._target_={CSV}")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    (written,) = run.rglob("metrics.csv")
    shown = [(point.step, point.value) for point in read_points(run) if point.name == "train/loss"]
    logged = [(int(row["step"]), float(row["train/loss"])) for row in rows(written) if row["train/loss"]]
    assert [step for step, _ in logged] == [step for step, _ in shown] == [3, 6]
    assert [value for _, value in logged] == pytest.approx([value for _, value in shown])
    assert "UNet" in (written.parent / "hparams.yaml").read_text()
    assert (run / "checkpoints" / "last.ckpt").is_file() and (run / "result.json").is_file()


def test_a_run_with_only_a_logger_of_ones_own(command: Callable[..., Any], tmp_path: Path, mylab: Path) -> None:
    """Its files lie in the run's folder and not the logger's; what precedes a checkpoint is saved with it; it can be resumed."""
    conf = f"--config-dir={mylab / 'conf'}"
    done = command(
        "train.py", conf, *SHORT, "logger=mine", "callbacks=default", "callbacks.checkpoints.every_n_steps=2"
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "lightning_logs" / "digits" / "version_0"
    lines = (run / "lines.txt").read_text().splitlines()
    assert "# hparams UNet" in lines and "# 7 val/loss" in lines
    point = next(i for i, line in enumerate(lines) if line.startswith("# 3 train/loss"))
    assert "# saved" in lines[point:-3]
    assert (run / "checkpoints" / "last.ckpt").is_file() and [*(run / "samples").glob("step_*.png")]
    assert not [*run.glob("events*")]
    # for report.py, although TensorBoard is not there
    assert {"train/loss", "val/loss"} <= {point.name for point in read_points(run)}
    name = "logger._target_=mylab_loggers.Lines"
    done = command("train.py", f"resume={run}", "trainer.max_epochs=2", name)
    assert done.returncode == 0, done.stderr
    assert "# 14 val/loss" in (run / "lines.txt").read_text()


def test_several_loggers(tmp_path: Path) -> None:
    lines = {"_target_": "mylab_loggers.Lines", "dir": None}
    for group, kinds in {
        (): [],
        ("tensorboard", "csv"): ["TensorBoard", "ResumableCSV"],
        ("tensorboard", "lines"): ["TensorBoard", "Lines"],
        ("_target_", "tensorboard", "mark"): ["Lines", "TensorBoard"],
        ("lines",): ["Lines", "ResumableCSV"],
    }.items():
        given = {"lines": lines, "_target_": lines["_target_"], "mark": "!"}
        built = build_loggers({"logger": {name: given.get(name, {}) for name in group}}, tmp_path, 0)
        assert [type(logger).__name__ for logger in built] == kinds
        assert all(logger.file == f"{tmp_path}/lines.txt" for logger in built if type(logger).__name__ == "Lines")
    assert build_loggers({"logger": None}, tmp_path, 0) == build_loggers({}, tmp_path, 0) == []
    elsewhere, _ = build_loggers({"logger": {"_target_": CSV, "save_dir": "elsewhere"}}, tmp_path, 0)
    assert elsewhere.save_dir == "elsewhere"


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"_target_": "mylab_loggers.NoLogger"}, "logger._target_=mylab_loggers.NoLogger: a class of"),
        ({"_target_": "mylab_loggers.Lost"}, "logger._target_=mylab_loggers.Lost: cannot be imported"),
        ({"_target_": None}, "logger._target_=null: the dotted name of a class or function is expected"),
        (
            {"mine": {"_target_": "mylab_loggers.Lines", "marks": 1}},
            "logger.mine.marks: no such key; did you mean mark?",
        ),
        (
            {"a": {"_target_": "mylab_loggers.Missing"}},
            "logger.a._target_=mylab_loggers.Missing: install the package for",
        ),
        ({"tensorbord": {}}, "logger.tensorbord: no such logger; choices: tensorboard, csv, wandb, mlflow, trackio"),
        (3, "logger=3: a mapping of loggers, or null, is expected"),
    ],
)
def test_what_is_no_logger_is_refused_in_one_line(group: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build_loggers({"logger": group}, tmp_path, 0)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        ["logger._target_=mylab_loggers.NoLogger"],
        # refused by Lightning when the logger has made its files
        [f"logger._target_={CSV}", "+trainer.val_check_interval=100000"],
    ],
    ids=["no logger", "late"],
)
def test_a_refused_run_leaves_nothing_of_its_loggers(
    wrong: list[str], command: Callable[..., Any], tmp_path: Path
) -> None:
    done = command("train.py", *SHORT, *wrong)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "lightning_logs").exists()


def test_a_refused_run_leaves_a_folder_of_the_users_own_alone(command: Callable[..., Any], tmp_path: Path) -> None:
    own = tmp_path / "lightning_logs" / "mnist" / "version_0" / "result.json"
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    wrong = [f"logger._target_={CSV}", "+trainer.val_check_interval=100000", f"hydra.run.dir={tmp_path}"]
    assert command("train.py", *SHORT, *wrong).returncode == 2
    assert own.read_text() == "{}"
