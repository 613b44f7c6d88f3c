"""Random numbers that depend on a key and on nothing else."""

from __future__ import annotations

import pytest
import torch

from lightdiff.core import BlockGenerator, GaussianNoise, keyed_generator, keyed_seed


def test_seeds_are_stable_and_depend_on_every_part() -> None:
    assert keyed_seed("train", 0, 1) == keyed_seed("train", 0, 1)
    keys = [("a", 1), ("a", 2), ("b", 1), ("a", 1, 0), ("a1",), ("a", "1"), (1, "a")]
    assert len({keyed_seed(*key) for key in keys}) == len(keys)
    assert all(0 <= keyed_seed("x", n) < 2**63 for n in range(1000))


def test_global_numbers_are_untouched() -> None:
    before = torch.get_rng_state()
    GaussianNoise().like(torch.empty(3, 1, 2, 2), keyed_generator("cpu", "x", 1))
    GaussianNoise().like(torch.empty(3, 1, 2, 2), BlockGenerator(0, 0, 3, "cpu"))
    assert torch.equal(before, torch.get_rng_state())


def test_a_row_sees_the_same_numbers_in_any_batch_over_any_number_of_draws() -> None:
    def draws(first: int, count: int) -> torch.Tensor:
        generator = BlockGenerator(7, first, count, "cpu", block_size=4)
        return torch.stack([GaussianNoise().like(torch.empty(count, 2), generator) for _ in range(3)], dim=1)

    whole = draws(0, 13)
    for first, count in ((0, 1), (3, 2), (4, 4), (5, 8), (12, 1)):
        assert torch.equal(draws(first, count), whole[first : first + count])
    assert len({tuple(row.flatten().tolist()) for row in whole}) == 13
    assert not torch.equal(draws(0, 4), draws(4, 4))


def test_another_seed_gives_other_numbers() -> None:
    one, two = (GaussianNoise().like(torch.empty(2, 2), BlockGenerator(seed, 0, 2, "cpu")) for seed in (0, 1))
    assert not torch.equal(one, two)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="serves 3 rows"):
        GaussianNoise().like(torch.empty(2, 2), BlockGenerator(0, 0, 3, "cpu"))
    with pytest.raises(ValueError, match="count=0"):
        BlockGenerator(0, 0, 0, "cpu")
