"""The pseudo-Huber distance: its equation, and its gradient where output and target are equal."""

from __future__ import annotations

import pytest
import torch

from lightdiff.core import MSE, PseudoHuber
from oracles import noise


def test_pseudo_huber_is_its_equation() -> None:
    output, target = noise(seed=1), noise(seed=2)
    target[1], target[2] = output[1], output[2] + 1e-5
    for c in (0.00054, 0.3):
        found = PseudoHuber(c)(output, target)
        count = output[0].numel()
        norm = (output - target).flatten(1).norm(dim=1)
        # the paper's constant is c times the root of the number of values, and the whole is divided by that root
        paper = ((norm**2 + (c * count**0.5) ** 2).sqrt() - c * count**0.5) / count**0.5
        torch.testing.assert_close(found, paper, rtol=1e-9, atol=1e-12)
        assert found[1] == 0
    # far above c it is the root of the mean squared error, far below it the mean squared error / (2 c)
    torch.testing.assert_close(PseudoHuber(1e-9)(output, target)[0], MSE()(output, target)[0].sqrt())
    assert PseudoHuber(0.3)(output, target)[2].item() == pytest.approx(1e-10 / 0.6, rel=1e-3)
    assert PseudoHuber()(output.bfloat16(), target.bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"^c=0\.0: a number above 0 is expected$"):
        PseudoHuber(0.0)


def test_the_gradient_of_pseudo_huber_is_finite_where_output_and_target_are_equal() -> None:
    output = noise(seed=1).requires_grad_()
    PseudoHuber()(output, output.detach().clone()).sum().backward()
    assert output.grad is not None and torch.equal(output.grad, torch.zeros_like(output))
