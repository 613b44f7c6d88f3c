"""`drop_last`: whether the images of an epoch that fill no batch are left out, or are its last, smaller batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightdiff.data import DiffSet
from lightdiff.data.order import TrainOrder
from runs import differences, killed, last, scalars, tiny, train

ALL_DIGITS = (
    "dataset.batch_size=400",  # 1,617 images: four batches and 17 images left over
    "dataset.drop_last=false",
    "dataset.horizontal_flip=true",
    "trainer.limit_train_batches=null",
    "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps=1",
    "callbacks=no_samples",
    "lr_scheduler=cosine",
    "lr_scheduler.warmup_steps=2",
    "dataset.image_size=8",
    "model.widths=[4,4]",
    "model.attention_levels=[]",
    "model.num_heads=1",
)


def test_the_last_batch_holds_what_is_left_over() -> None:
    order = TrainOrder(64, 12, seed=0, drop_last=False)
    assert len(order) == 6
    for epoch in range(3):
        batches = [order.rows(n).tolist() for n in range(6 * epoch, 6 * epoch + 6)]
        assert [len(batch) for batch in batches] == [12] * 5 + [4]
        assert sorted(row for batch in batches for row in batch) == list(range(64))


def test_the_other_batches_of_an_epoch_are_the_same_with_and_without_it() -> None:
    dropped, kept = TrainOrder(64, 12, seed=3), TrainOrder(64, 12, seed=3, drop_last=False)
    for epoch in range(3):
        for position in range(5):
            assert torch.equal(dropped.rows(5 * epoch + position), kept.rows(6 * epoch + position))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("num_images", [60, 64, 71])
def test_images_are_counted_as_they_come_in_batches(num_images: int, drop_last: bool) -> None:
    order = TrainOrder(num_images, 12, seed=0, drop_last=drop_last)
    for n in range(20):
        assert order.images_before(n) == sum(len(order.rows(earlier)) for earlier in range(n))


def test_nothing_is_left_over_where_the_batches_hold_all_images() -> None:
    dropped, kept = TrainOrder(60, 12, seed=3), TrainOrder(60, 12, seed=3, drop_last=False)
    assert len(dropped) == len(kept) == 5
    assert all(torch.equal(dropped.rows(n), kept.rows(n)) for n in range(12))


def numbered_data(numbered, **settings) -> DiffSet:
    data = DiffSet("numbered", source=numbered(num_train=54), batch_size=10, **settings)
    data.setup()
    return data


def test_processes_share_the_last_batch_too(numbered, attach) -> None:
    data = numbered_data(numbered, drop_last=False)
    whole = [batch["label"].tolist() for batch in attach(data).train_dataloader()]
    assert [len(batch) for batch in whole] == [10] * 5 + [4]
    shards = [attach(data, rank=rank, world_size=2).train_dataloader() for rank in range(2)]
    for n, pair in enumerate(zip(*shards, strict=True)):
        assert [shard["label"].tolist() for shard in pair] == [whole[n][0::2], whole[n][1::2]]


def test_a_last_batch_that_processes_cannot_share_is_refused(numbered, attach) -> None:
    expected = (
        r"drop_last=false: the last batch of an epoch has 4 of the 54 training images, not divisible by 5 processes; use "
        r"drop_last=true or another batch_size$"
    )
    with pytest.raises(ValueError, match=expected):
        attach(numbered_data(numbered, drop_last=False), world_size=5).train_dataloader()
    assert len(attach(numbered_data(numbered), world_size=5).train_dataloader()) == 5


class Watch(Callback):
    """Notes after each batch how many images the data set says were seen."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        self.seen.append(trainer.datamodule.images_seen)  # type: ignore[attr-defined]


class Nothing(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx) -> None:
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(("drop_last", "seen"), [(True, [10, 20, 30, 40]), (False, [10, 20, 24, 34, 44, 48])])
def test_a_run_knows_how_many_images_it_has_seen(numbered, tmp_path: Path, drop_last: bool, seen: list[int]) -> None:
    data = DiffSet("numbered", source=numbered(num_train=24), batch_size=10, drop_last=drop_last)
    watch = Watch()
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=2, callbacks=[watch], default_root_dir=tmp_path, **off)
    trainer.fit(Nothing(), data)
    assert watch.seen == seen
    assert trainer.estimated_stepping_batches == trainer.global_step == len(seen)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, each of which ends with a smaller batch."""
    folder = tmp_path_factory.mktemp("whole") / "version_0"
    train(tiny(*ALL_DIGITS), folder)
    return folder


def test_the_learning_rate_and_the_run_end_with_the_last_smaller_batch(whole: Path) -> None:
    assert last(whole)["global_step"] == 2 * 5
    rates = dict(scalars(whole)["train/lr"])
    assert max(rates) == 10
    assert 0 <= rates[10] < 0.05 * max(rates.values()) < rates[7]


@pytest.mark.parametrize("batch", [5, pytest.param(7, marks=pytest.mark.slow)])
def test_a_run_resumes_exactly_after_the_smaller_batch_and_within_an_epoch(
    whole: Path, tmp_path: Path, batch: int
) -> None:
    folder = tmp_path / "version_0"
    killed(tiny(*ALL_DIGITS), folder, batch=batch)
    resumed = train(tiny(*ALL_DIGITS), folder)
    for part in ("state_dict", "optimizer_states", "global_step"):
        assert differences(last(whole)[part], resumed[part]) == []


def test_a_set_smaller_than_a_batch_is_refused_unless_it_may_be_a_smaller_batch(command) -> None:
    settings = (
        *("dataset=digits", "dataset.batch_size=2000", "model=unet_small", "model.widths=[4,4]", "trainer=cpu"),
        *("model.attention_levels=[]", "model.num_heads=1", "trainer.max_epochs=1", "callbacks=no_samples"),
        *("trainer.enable_progress_bar=false", "trainer.limit_val_batches=1", "dataset.image_size=8"),
        "trainer.log_every_n_steps=1",
    )
    refused = command("train.py", *settings)
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: dataset.batch_size=2000: there are only 1617 training images; use a batch_size of at most 1617, or null, which "
        "chooses one, or drop_last=false\n"
    )
    assert command("train.py", *settings, "dataset.drop_last=false").returncode == 0
