"""DiffSet: arguments, batches, shards and flips."""

from __future__ import annotations

import time

import pytest
import torch

from lightdiff.data import DiffSet
from lightdiff.data.flip import flip


def numbers(batch: dict[str, torch.Tensor]) -> list[int]:
    """Return the numbers of these images of `Numbered`, read from their pixels; the labels must agree."""
    assert batch["image"][:, 0, 0, 0].tolist() == batch["label"].tolist()
    return batch["label"].tolist()


@pytest.fixture
def data(numbered) -> DiffSet:
    data = DiffSet("numbered", source=numbered(), batch_size=10, seed=7)
    data.setup()
    return data


def test_properties_and_batches(data: DiffSet) -> None:
    assert (data.name, data.channels, data.image_size, data.num_train, data.num_val) == ("numbered", 1, (4, 6), 50, 11)
    assert len(data.class_names) == 61
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 5
    assert sorted(n for batch in batches for n in numbers(batch)) == list(range(50))
    for batch in batches:
        assert batch["image"].shape == (10, 1, 4, 6) and batch["image"].dtype == torch.uint8
        assert batch["label"].shape == (10,) and batch["label"].dtype == torch.int64
    assert [n for batch in data.val_dataloader() for n in numbers(batch)] == list(range(50, 61))


def test_loading_leaves_the_global_random_numbers_alone(data: DiffSet) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(data.train_dataloader()), list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_without_setup_it_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"call setup\(\) first"):
        _ = DiffSet("digits").class_names


def test_a_loader_begins_at_the_position_of_the_trainer(data: DiffSet, attach) -> None:
    stream = [numbers(batch) for batch in data.train_dataloader()]
    attach(data, processed=5)
    stream += [numbers(batch) for batch in data.train_dataloader()]
    attach(data, processed=3)
    assert [numbers(batch) for batch in data.train_dataloader()] == stream[3:8]


def test_the_position_is_asked_for_when_reading_starts(data: DiffSet, attach) -> None:
    stream = [numbers(batch) for batch in data.train_dataloader()]
    reading = iter(attach(data, processed=0).train_dataloader())
    data.trainer.fit_loop.epoch_loop.batch_progress.total.processed = 2
    assert numbers(next(reading)) == stream[2]


@pytest.mark.parametrize("world_size", [2, 5])
def test_processes_see_together_what_one_sees(data: DiffSet, attach, world_size: int) -> None:
    for loader in ("train_dataloader", "val_dataloader"):
        whole = [numbers(batch) for batch in getattr(attach(data), loader)()]
        together = [[None] * len(batch) for batch in whole]
        for rank in range(world_size):
            shards = list(getattr(attach(data, rank=rank, world_size=world_size), loader)())
            assert len(shards) == len(whole)
            for batch, shard in zip(together, shards, strict=True):
                assert len(shard["label"]) > 0
                batch[rank::world_size] = numbers(shard)
        assert together == whole


def test_a_batch_that_the_processes_cannot_share_is_refused(data: DiffSet, attach) -> None:
    with pytest.raises(ValueError, match="batch_size=10: not divisible by 4 processes; nearest: 8 or 12"):
        attach(data, world_size=4).train_dataloader()
    with pytest.raises(ValueError, match=r"batch_size=10: not divisible by 16 processes; nearest: 16$"):
        attach(data, world_size=16).train_dataloader()


def test_a_process_without_validation_images_is_refused(data: DiffSet, attach) -> None:
    with pytest.raises(
        ValueError, match="batch_size=10: 11 validation images give a batch of 5, too few for 10 processes"
    ):
        attach(data, world_size=10).val_dataloader()


def test_too_few_images_for_a_batch(numbered) -> None:
    data = DiffSet("numbered", source=numbered(num_train=9), batch_size=10)
    data.setup()
    with pytest.raises(ValueError, match="batch_size=10: there are only 9 training images"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "minst"}, "name=minst: no such data set; did you mean mnist"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"max_memory_gb": -1.0}, "max_memory_gb=-1.0"),
        ({"max_memory_gb": float("nan")}, "max_memory_gb=nan"),
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": [16, 16, 3]}, r"image_size=\[16, 16, 3\]"),
        ({"image_size": [16]}, r"image_size=\[16\]"),
        ({"channels": 0}, "channels=0: 1 or more is expected"),
        ({"resize_mode": "fill"}, "resize_mode=fill: choices: pad, resize, crop, none"),
    ],
)
def test_impossible_arguments_are_refused_when_it_is_built(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as error:
        DiffSet(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("given", "size"), [(24, (24, 24)), ([20, 28], (20, 28)), ((20, 28), (20, 28))])
def test_image_size(given, size: tuple[int, int]) -> None:
    data = DiffSet("digits", image_size=given)
    data.setup()
    assert data.image_size == size
    assert next(iter(data.val_dataloader()))["image"].shape[1:] == (1, *size)


# -- flips ------------------------------------------------------------------------------------------------------------


def flipped(batch: dict[str, torch.Tensor]) -> list[bool]:
    """Return which images of `Numbered` are mirrored, so that their number stands in the last column."""
    left, right = batch["image"][:, 0, 0, 0], batch["image"][:, 0, 0, -1]
    assert torch.equal(left + right, batch["label"].to(torch.uint8))
    return (right > 0).tolist()


@pytest.fixture
def flipping(numbered) -> DiffSet:
    data = DiffSet("numbered", source=numbered(num_train=240), batch_size=60, horizontal_flip=True, seed=1)
    data.setup()
    return data


def training_batches(data: DiffSet, attach, count: int = 4, **trainer) -> list[dict[str, torch.Tensor]]:
    loader = iter(attach(data, **trainer).train_dataloader())
    batches = []
    for n in range(count):
        batch = next(loader)
        data.trainer.fit_loop.epoch_loop.batch_progress.total.processed = n
        batches.append(data.on_after_batch_transfer(batch, 0))
    return batches


def test_half_of_the_training_images_are_flipped_others_in_each_batch(flipping: DiffSet, attach) -> None:
    chosen = [flipped(batch) for batch in training_batches(flipping, attach)]
    rate = sum(map(sum, chosen)) / 240
    assert abs(rate - 0.5) < 4 * (0.25 / 240) ** 0.5
    assert len({tuple(choice) for choice in chosen}) == 4


def test_flips_do_not_depend_on_the_number_of_processes(flipping: DiffSet, attach) -> None:
    whole = training_batches(flipping, attach)
    for rank in range(3):
        for one, shard in zip(whole, training_batches(flipping, attach, rank=rank, world_size=3), strict=True):
            assert torch.equal(shard["image"], one["image"][rank::3])


def test_validation_images_are_not_flipped_nor_training_images_outside_training(flipping: DiffSet, attach) -> None:
    batch = next(iter(flipping.val_dataloader()))
    assert flipping.on_after_batch_transfer(batch, 0) is batch
    assert attach(flipping, training=False).on_after_batch_transfer(batch, 0) is batch


def test_flips_are_off_unless_asked_for(data: DiffSet, attach) -> None:
    batch = next(iter(data.train_dataloader()))
    assert attach(data).on_after_batch_transfer(batch, 0) is batch


def test_a_flip_mirrors_left_and_right_only(random_pixels) -> None:
    images = random_pixels(64, 3, 5, 6)
    result = flip(images, torch.Generator().manual_seed(0))
    same = [torch.equal(one, other) for one, other in zip(images, result, strict=True)]
    mirrored = [torch.equal(one.flip(2), other) for one, other in zip(images, result, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 16 < sum(mirrored) < 48


# -- speed ------------------------------------------------------------------------------------------------------------


def test_a_batch_from_memory_takes_well_below_a_millisecond(numbered) -> None:
    data = DiffSet("numbered", source=numbered(num_train=6_000), image_size=32, batch_size=100)
    data.setup()
    loader = data.train_dataloader()
    times = []
    for _ in range(5):
        # of this process alone, which other processes do not lengthen
        start = time.process_time()
        assert sum(1 for _ in loader) == 60
        times.append((time.process_time() - start) / 60)
    assert min(times) < 1e-3
