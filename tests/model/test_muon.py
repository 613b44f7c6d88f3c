"""The optimizer Muon against torch's own for matrices, AdamW for the rest, and through a resumed training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lightdiff.model import Muon
from lightdiff.model.muon import orthogonal
from runs import differences, killed, last, tiny, train


def parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def steps(optimizer: torch.optim.Optimizer, ours: list[nn.Parameter], count: int = 5) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        for parameter in ours:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_singular_values_come_near_to_1(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.5 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    # the directions stay: the same singular vectors diagonalise both
    turned = u.mT @ orthogonal(matrices) @ v.mT
    assert torch.allclose(turned, torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1)), atol=1e-4)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_matrices_move_as_with_the_muon_of_torch(shape: tuple[int, int]) -> None:
    ours, theirs = parameters(shape, shape), parameters(shape, shape)
    start = ours[0].detach().clone()
    steps(Muon(ours, lr=0.02, momentum=0.9, weight_decay=0.1), ours)
    torchs = torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    steps(torchs, theirs)
    for one, other in zip(ours, theirs, strict=True):
        # theirs iterates in bfloat16
        assert (one - other).norm() < 0.03 * (one - start).norm()


def test_a_convolution_moves_as_its_matrix() -> None:
    (convolution,), (matrix,) = parameters((16, 8, 3, 3)), parameters((16, 72))
    steps(Muon([convolution]), [convolution])
    steps(Muon([matrix]), [matrix])
    assert torch.equal(convolution.reshape(16, 72), matrix)


def test_all_else_moves_as_with_adamw() -> None:
    shapes = ((5,), (8, 40), (3, 4, 3, 3))
    ours, theirs = parameters(*shapes), parameters(*shapes)
    steps(Muon(ours, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1), ours)
    steps(torch.optim.AdamW(theirs, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1), theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1}, "lr=-1"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"betas": (0.9, 1.0)}, "betas="),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
    ],
)
def test_a_number_out_of_its_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Muon(parameters((3,)), **settings)


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    config = tiny("optimizer=muon", "lr_scheduler=linear", "callbacks=no_samples")
    whole = train(config, tmp_path / "whole" / "version_0")
    folder = tmp_path / "killed" / "version_0"
    killed(config, folder, batch=7)
    train(config, folder)
    for name in ("state_dict", "optimizer_states", "global_step"):
        assert differences(whole[name], last(folder)[name], name) == []
