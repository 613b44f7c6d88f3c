"""The average of the weights against its formula in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lightdiff.model import EMA


def test_average_follows_the_formula_with_warm_up() -> None:
    live = nn.Linear(3, 2, dtype=torch.float64)
    ema = EMA(live, decay=0.5)
    expected = live.weight.detach().clone()
    for n in range(12):
        with torch.no_grad():
            live.weight.normal_()
        ema.update(live)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * live.weight.detach()
    torch.testing.assert_close(ema.module.weight, expected, rtol=0, atol=1e-14)
    assert ema.num_updates == 12


def test_buffers_are_averaged_and_integer_buffers_copied() -> None:
    live = nn.BatchNorm1d(2)
    ema = EMA(live, decay=0.9)
    live(torch.randn(8, 2) + 5)
    ema.update(live)
    decay = 1 / 10
    torch.testing.assert_close(ema.module.running_mean, (1 - decay) * live.running_mean)
    assert ema.module.num_batches_tracked == 1


def test_average_is_never_trained() -> None:
    assert not any(p.requires_grad for p in EMA(nn.Linear(2, 2), 0.9).parameters())


def test_live_weights_are_left_alone() -> None:
    live = nn.Linear(3, 2)
    before = copy.deepcopy(live.state_dict())
    ema = EMA(live, decay=0.9)
    ema.update(live)
    assert all(torch.equal(before[name], value) for name, value in live.state_dict().items())
    assert ema.module.weight.data_ptr() != live.weight.data_ptr()


def test_state_holds_the_number_of_updates() -> None:
    live = nn.Linear(3, 2)
    ema, again = EMA(live, decay=0.9), EMA(live, decay=0.9)
    ema.update(live)
    again.load_state_dict(ema.state_dict())
    assert again.num_updates == 1


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"ema_decay={decay}"):
        EMA(nn.Linear(1, 1), decay)
