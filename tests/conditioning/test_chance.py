"""Numbers derived from chance: uniform, independent, and a function of the image's own chance alone."""

from __future__ import annotations

import pytest
import torch

from lightdiff.conditioning.chance import chance_of_rows, normals_of, numbers_of

EXPECTED = [[1329799, 6018005, 1859914], [7548074, 5885162, 12116062], [5309518, 3435720, 15695737]]
CHANCE = torch.rand(20_000, generator=torch.Generator().manual_seed(0))


def test_they_are_always_the_same() -> None:
    # a change of these would change every run that is resumed
    found = (numbers_of(torch.tensor([0.0, 0.5, 0.75]), 3) * 2**24).long().tolist()
    assert found == EXPECTED


def test_a_row_depends_on_its_own_chance_alone_and_more_numbers_begin_with_fewer() -> None:
    numbers = numbers_of(CHANCE, 7)
    rows = torch.tensor([5, 17_000, 3])
    assert torch.equal(numbers_of(CHANCE[rows], 7), numbers[rows])
    assert torch.equal(numbers_of(CHANCE[1::2], 3), numbers[1::2, :3])


def test_global_numbers_are_untouched() -> None:
    before = torch.get_rng_state()
    normals_of(CHANCE[:3], (2, 2))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("chance", [CHANCE, chance_of_rows(range(20_000))], ids=["random", "of rows"])
def test_they_are_uniform_and_independent(chance: torch.Tensor) -> None:
    numbers = numbers_of(chance, 8).double()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # each cell of 16 expects 1,250 with a deviation of 34; the bound is six deviations
    counts = torch.stack([torch.histc(column, 16, 0, 1) for column in numbers.T])
    assert (counts - 1250).abs().max() < 6 * 34.3
    # columns with one another, with those of the next image, and with chance itself
    table = torch.cat([numbers, numbers.roll(1, 0), chance.double()[:, None]], dim=1)
    correlation = torch.corrcoef(table.T) - torch.eye(17, dtype=torch.float64)
    assert correlation.abs().max() < 6 / 20_000**0.5
    # two numbers of one image fill the square evenly
    cells = torch.bincount((numbers[:, 0] * 8).long() * 8 + (numbers[:, 1] * 8).long(), minlength=64)
    assert (cells - 312.5).abs().max() < 6 * 17.6


def test_nested_numbers_are_independent_of_the_outer_ones() -> None:
    outer = numbers_of(CHANCE, 2)
    inner = numbers_of(outer[:, 0], 2)
    table = torch.cat([outer, inner], dim=1).double()
    assert (torch.corrcoef(table.T) - torch.eye(4, dtype=torch.float64)).abs().max() < 6 / 20_000**0.5


def test_normal_numbers_have_the_moments_of_the_normal_distribution() -> None:
    normals = normals_of(CHANCE, (2, 3, 1)).double()
    assert normals.shape == (20_000, 2, 3, 1)
    for power, moment, deviation in ((1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs(normals.pow(power).mean() - moment) < 6 * deviation / normals.numel() ** 0.5
    assert torch.corrcoef(normals.flatten(1).T).fill_diagonal_(0).abs().max() < 6 / 20_000**0.5


def test_double_precision_gives_the_same_numbers() -> None:
    assert torch.equal(numbers_of(CHANCE.double(), 4), numbers_of(CHANCE, 4))
