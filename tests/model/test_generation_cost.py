"""What a sampling run computes: the condition once a batch, one forward pass a step, and no gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightdiff.conditioning import LabelConditioner
from lightdiff.core import FlowSchedule, VPrediction
from lightdiff.model import DiffusionModel, Generation

STEPS = 5


class Recorder(nn.Module):
    """A network that remembers how it was called."""

    image_shape = (1, 4, 4)
    cond_keys = ("vector",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.rows: list[int] = []
        self.conds: list[Tensor] = []
        self.inference: list[bool] = []

    def forward(self, x: Tensor, time: Tensor | None, cond: dict[str, Tensor] | None = None) -> Tensor:
        assert cond is not None
        self.rows.append(len(x))
        self.conds.append(cond["vector"])
        self.inference.append(torch.is_inference_mode_enabled() and not torch.is_grad_enabled())
        return self.weight * x + cond["vector"].mean(1)[:, None, None, None]


class Counted(LabelConditioner):
    calls = 0

    def forward(self, inputs: Tensor, drop: Tensor | None = None) -> dict[str, Tensor]:
        Counted.calls += 1
        return super().forward(inputs, drop)


@pytest.mark.parametrize(("scale", "rows"), [(1.0, 3), (0.0, 3), (4.0, 6)])
def test_a_batch_costs_one_condition_and_one_forward_pass_a_step(scale: float, rows: int) -> None:
    network: Any = Recorder()
    model = DiffusionModel(
        network, FlowSchedule(), prediction=VPrediction(), conditioning=Counted(10, cond_dim=8), ema_decay=None
    )
    generation = Generation.of(model, sampler="ddim", num_steps=STEPS, guidance_scale=scale)
    Counted.calls = 0
    generation.images(model, range(6), batch_size=3)
    # once for each of the two batches
    assert Counted.calls == 2
    assert network.rows == [rows] * STEPS * 2
    assert all(network.inference)
    # guidance joins the condition and the null condition once for a batch, not once for a step
    if scale not in (0.0, 1.0):
        assert len({id(cond) for cond in network.conds[:STEPS]}) == 1
        assert network.conds[0] is not network.conds[STEPS]
