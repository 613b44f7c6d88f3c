"""Which images make up a batch."""

from __future__ import annotations

import pytest
import torch

from lightdiff.data.order import FixedOrder, RankBatches, TrainOrder, keyed_split


def flat(batches) -> list[int]:
    return [row for batch in batches for row in batch]


def test_a_data_epoch_shows_every_image_once_and_each_epoch_in_another_order() -> None:
    order = TrainOrder(60, 12, seed=3)
    epochs = [flat(order.rows(n).tolist() for n in range(5 * e, 5 * e + 5)) for e in range(3)]
    assert len(order) == 5
    for epoch in epochs:
        assert sorted(epoch) == list(range(60))
        assert epoch != sorted(epoch)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_rest_that_fills_no_batch_is_another_one_in_each_epoch() -> None:
    order = TrainOrder(64, 12, seed=0)
    left_out = [set(range(64)) - set(flat(order.rows(n).tolist() for n in range(5 * e, 5 * e + 5))) for e in range(4)]
    assert all(len(rest) == 4 for rest in left_out)
    assert len({frozenset(rest) for rest in left_out}) > 1


def test_a_batch_depends_on_its_number_alone_not_on_what_was_asked_before() -> None:
    forward, backward = TrainOrder(50, 7, seed=1), TrainOrder(50, 7, seed=1)
    ahead = [forward.rows(n).tolist() for n in range(30)]
    assert [backward.rows(n).tolist() for n in reversed(range(30))] == ahead[::-1]


def test_another_seed_gives_another_order() -> None:
    assert TrainOrder(50, 50, seed=1).rows(0).tolist() != TrainOrder(50, 50, seed=2).rows(0).tolist()


def test_a_pass_begins_where_the_run_is_and_goes_on_across_epochs() -> None:
    order, position = TrainOrder(50, 10, seed=0), 0
    batches = RankBatches(order, lambda: position)
    for position in (0, 3, 13):
        assert list(batches) == [order.rows(n).tolist() for n in range(position, position + 5)]


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("kind", [lambda: TrainOrder(61, 12, seed=5), lambda: FixedOrder(61, 12)])
def test_the_shards_of_all_processes_interleave_to_the_global_batch(kind, world_size: int) -> None:
    whole = list(RankBatches(kind(), lambda: 2 * (kind is TrainOrder)))
    shards = [list(RankBatches(kind(), lambda: 0, rank, world_size)) for rank in range(world_size)]
    for n, batch in enumerate(whole):
        together = [None] * len(batch)
        for rank in range(world_size):
            assert shards[rank][n]
            together[rank::world_size] = shards[rank][n]
        assert together == batch


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=128: there are only 20 training images"):
        TrainOrder(20, 128, seed=0)


@pytest.mark.parametrize("num_images", [1, 5, 12, 13, 17, 18, 24, 25, 100, 121])
def test_validation_shows_every_image_once_in_its_stored_order_in_batches_of_similar_size(num_images: int) -> None:
    order = FixedOrder(num_images, 12)
    batches = [order.rows(n).tolist() for n in range(len(order))]
    assert flat(batches) == list(range(num_images))
    assert len(batches) == -(-num_images // 12)
    assert max(map(len, batches)) <= 12
    assert order.smallest == min(map(len, batches)) >= min(6, num_images)


def test_validation_batches_are_full_but_for_the_last_two() -> None:
    assert FixedOrder(10_000, 128).bounds[:-2] == list(range(0, 9_985, 128))[:78]
    assert FixedOrder(40, 16).bounds == [0, 16, 32, 40]
    assert FixedOrder(34, 16).bounds == [0, 16, 25, 34]


def test_a_split_has_every_image_once_and_is_the_same_every_time() -> None:
    train, val = keyed_split(1797, 0.1)
    assert sorted(train + val) == list(range(1797))
    assert len(val) == 180
    assert train == sorted(train) and val == sorted(val)
    assert keyed_split(1797, 0.1) == (train, val)
    spread = torch.tensor(val, dtype=torch.float64).mean() / 1797
    assert 0.4 < spread < 0.6  # from everywhere, not from one end


@pytest.mark.parametrize(("num_images", "val_fraction", "num_val"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.3, 3)])
def test_both_splits_have_an_image(num_images: int, val_fraction: float, num_val: int) -> None:
    train, val = keyed_split(num_images, val_fraction)
    assert len(val) == num_val
    assert len(train) == num_images - num_val
