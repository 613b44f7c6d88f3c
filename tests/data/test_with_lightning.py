"""DiffSet under a real Trainer: order, resume within an epoch, two processes."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.data import DiffSet
from waiting import PATIENCE


class Recorder(LightningModule):
    """Keeps the images that each training batch shows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[bytes] = []
        self.validated: list[bytes] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["image"].numpy().tobytes() + bytes(batch["label"].tolist()))
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx) -> None:
        self.validated.append(batch["image"].numpy().tobytes())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: DiffSet, root: Path, ckpt_path: Path | None = None, model: Recorder | None = None, **trainer):
    model = model or Recorder()
    runner = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=root,
        **trainer,
    )
    try:
        runner.fit(model, data, ckpt_path=ckpt_path)
    finally:
        data.teardown()
    return model


class Stopped(Exception):
    pass


class StopAt(Callback):
    """Save a checkpoint after that many batches and end the run, as an interrupt does."""

    def __init__(self, batches: int, path: Path) -> None:
        self.batches = batches
        self.path = path

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        if len(pl_module.seen) == self.batches:
            trainer.save_checkpoint(self.path)
            raise Stopped


def fit_in_two(make_data, root: Path, stop: int, **trainer) -> list[bytes]:
    """Return the images seen up to an interrupt and, after resuming from its checkpoint, until the end."""
    path, first = root / "stopped.ckpt", Recorder()
    with pytest.raises(Stopped):
        fit(make_data(), root, model=first, callbacks=[StopAt(stop, path)], **trainer)
    rest = fit(make_data(), root, ckpt_path=path, **trainer)
    return first.seen + rest.seen


def numbered_data(numbered) -> DiffSet:
    return DiffSet("numbered", source=numbered(), batch_size=10, horizontal_flip=True, seed=3)


def test_a_run_that_stops_within_an_epoch_goes_on_as_if_it_had_not(numbered, tmp_path: Path) -> None:
    whole = fit(numbered_data(numbered), tmp_path, max_epochs=4)
    assert len(set(whole.seen)) == len(whole.seen) == 20
    for stop in (3, 5, 12):
        assert fit_in_two(lambda: numbered_data(numbered), tmp_path, stop, max_epochs=4) == whole.seen


def test_a_folder_read_by_workers_goes_on_where_it_stopped(photos: Path, tmp_path: Path) -> None:
    def lazy() -> DiffSet:
        return DiffSet(
            "folder",
            data_dir=str(photos),
            image_size=8,
            batch_size=4,
            max_memory_gb=0,
            num_workers=2,
            horizontal_flip=True,
        )

    whole = fit(lazy(), tmp_path, max_epochs=3)
    assert len(whole.seen) == 15
    assert fit_in_two(lazy, tmp_path, 7, max_epochs=3) == whole.seen
    assert not multiprocessing.active_children()


def test_short_epochs_continue_the_stream(numbered, tmp_path: Path) -> None:
    whole = fit(numbered_data(numbered), tmp_path, max_epochs=2)
    short = fit(numbered_data(numbered), tmp_path, max_epochs=5, limit_train_batches=2)
    assert short.seen == whole.seen


def test_accumulation_and_validation_in_between_change_nothing(numbered, tmp_path: Path) -> None:
    whole = fit(numbered_data(numbered), tmp_path, max_epochs=2)
    other = fit(numbered_data(numbered), tmp_path, max_epochs=2, accumulate_grad_batches=3, val_check_interval=2)
    assert other.seen == whole.seen


def test_validation_is_the_same_every_time(numbered, tmp_path: Path) -> None:
    model = fit(numbered_data(numbered), tmp_path, max_epochs=2, num_sanity_val_steps=0)
    assert len(model.validated) == 4
    assert model.validated[:2] == model.validated[2:]


def test_overfit_batches_is_refused(numbered, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^overfit_batches=2: 0 is expected"):
        fit(numbered_data(numbered), tmp_path, max_epochs=1, overfit_batches=2)


@pytest.mark.slow
def test_two_processes_share_the_batches_of_one(tmp_path: Path) -> None:
    """Flips included, and with Lightning's default of replacing samplers left on."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import json, sys
            import torch
            from pytorch_lightning import LightningModule, Trainer
            from lightdiff.data import DiffSet, Digits

            class Recorder(LightningModule):
                def __init__(self):
                    super().__init__()
                    self.weight = torch.nn.Parameter(torch.zeros(()))
                    self.seen = {"train": [], "val": []}

                def record(self, split, batch):
                    sums = (batch["image"].double() * torch.arange(64.0).reshape(8, 8)).sum(dim=(1, 2, 3))
                    self.seen[split].append(sums.tolist())

                def training_step(self, batch, batch_idx):
                    self.record("train", batch)
                    return self.weight * 1.0

                def validation_step(self, batch, batch_idx):
                    self.record("val", batch)

                def on_fit_end(self):
                    with open(f"{sys.argv[1]}.{self.global_rank}.json", "w") as file:
                        json.dump(self.seen, file)

                def configure_optimizers(self):
                    return torch.optim.SGD(self.parameters(), lr=0.1)

            if __name__ == "__main__":
                source = Digits(val_fraction=0.0953)
                data = DiffSet("digits", source=source, image_size=8, batch_size=60, horizontal_flip=True)
                devices = int(sys.argv[2])
                strategy = "ddp_fork" if devices > 1 else "auto"
                Trainer(accelerator="cpu", devices=devices, strategy=strategy, max_epochs=2, limit_train_batches=4,
                        logger=False, enable_checkpointing=False, enable_progress_bar=False,
                        enable_model_summary=False, num_sanity_val_steps=0).fit(Recorder(), data)
            """
        )
    )
    seen = {}
    for devices in (1, 2):
        command = [sys.executable, str(script), str(tmp_path / f"seen{devices}"), str(devices)]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path)
        assert finished.returncode == 0, finished.stderr
        seen[devices] = [json.loads((tmp_path / f"seen{devices}.{rank}.json").read_text()) for rank in range(devices)]
    (one,), two = seen[1], seen[2]
    assert len(one["train"]) == 8
    assert {len(batch) for batch in one["val"]} == {60, 51}  # a last batch with shards of 26 and 25
    for split in ("train", "val"):
        for n, batch in enumerate(one[split]):
            assert two[0][split][n] == batch[0::2]
            assert two[1][split][n] == batch[1::2]
