"""Count the files of lightdiff that one reads to follow a training step, a command up to its first step, and sample(16).

python bench/ways.py            # a table, in half a minute on one CPU core

A call counts when a function of one file calls, directly or through another library, a function of another file. Generators and
properties count like functions. What is run while a module is imported does not count.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

import lightdiff
from lightdiff import load_model

SOURCE = str(Path(lightdiff.__file__).parent)
SETTINGS = (
    *("experiment=digits_fast", "trainer=cpu", "trainer.max_steps=3", "trainer.enable_progress_bar=false"),
    *("callbacks=no_samples", "trainer.precision=32-true"),
)


class Way:
    """Counts the files in which functions are called, and the calls from one file to another.

    Attributes:
        files: the files.
        calls: number of calls from one of them to another.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.calls = 0

    def __enter__(self) -> Way:
        sys.setprofile(self._event)
        return self

    def __exit__(self, *arguments: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or not self._counts(frame):
            return
        self.files.add(frame.f_code.co_filename)
        caller = frame.f_back
        while caller is not None and not self._counts(caller):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != frame.f_code.co_filename:
            self.calls += 1

    @staticmethod
    def _counts(frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(SOURCE) and frame.f_code.co_name != "<module>"

    def __str__(self) -> str:
        return f"{len(self.files)} files, {self.calls} calls"


class OneStep(Callback):
    """Counts the second step of a run, from reading its batch to the update of the averages."""

    def __init__(self) -> None:
        self.way = Way()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self.way.__enter__()
        else:
            self.way.__exit__()


def command_to_step(folder: Path) -> Way:
    """Count what a command does up to the call of its first training step."""
    from lightdiff.__main__ import main
    from lightdiff.model import DiffusionModel

    way, step = Way(), DiffusionModel.training_step

    def first(self: DiffusionModel, *arguments: Any) -> Any:
        way.__exit__()
        DiffusionModel.training_step = step  # type: ignore[method-assign]
        return step(self, *arguments)

    DiffusionModel.training_step = first  # type: ignore[method-assign,assignment]
    sys.argv = ["lightdiff", "train", *SETTINGS, f"log_dir={folder}"]
    with way:
        main()
    return way


def training_step() -> Way:
    """Count one step of the model and data of a recipe, without callbacks of the run."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from lightdiff.config.build import build_data, build_model

    conf = Path(SOURCE).parents[1] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = OmegaConf.to_container(compose("train", list(SETTINGS)), resolve=True)
    count = OneStep()
    trainer = Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        callbacks=[count],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    trainer.fit(build_model(config), build_data(config))
    return count.way


def sampling() -> Way:
    """Count the way from `sample(16)` to the images, in 5 steps of ddim."""
    model = load_model(Path(SOURCE).parents[1] / "models" / "mnist_fast")
    with Way() as way:
        model.sample(16, num_steps=5, seed=0)
    return way


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = {"a training step": training_step(), "sample(16)": sampling()}
        rows["a command to its first step"] = command_to_step(Path(folder))
    for name, way in rows.items():
        print(f"{name}: {way}")


if __name__ == "__main__":
    main()
