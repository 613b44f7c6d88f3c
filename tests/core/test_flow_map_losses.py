"""The losses of flow maps while they train: rows of a process, gradients, dropout, mixed precision, the ends of time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flow_map_parts import BETWEEN, NETWORKS, RULES, Ignoring, S, T, gradients, losses_of, random_denoiser, random_jumps
from lightdiff.core import Denoiser, FlowMapObjective, JumpDraw, Jumps, VPrediction, X0Prediction
from lightdiff.networks import ResUNet
from oracles import SCHEDULES, times


@pytest.mark.parametrize("rule", RULES)
def test_the_rows_of_a_process_have_the_losses_and_gradients_of_the_whole(rule: str) -> None:
    denoiser = random_denoiser("resunet", "flow", "v")
    whole = losses_of(rule, denoiser)
    parts = [losses_of(rule, denoiser, slice(rank, 4, 2)) for rank in (0, 1)]
    for rank in (0, 1):
        torch.testing.assert_close(parts[rank], whole[rank:4:2], rtol=1e-9, atol=1e-12)
    together = sum(gradients(part, denoiser) for part in parts) / 2  # type: ignore[operator]
    torch.testing.assert_close(together, gradients(whole[:4], denoiser), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_losses_are_the_same_without_gradient_and_in_inference_mode(network: str, rule: str) -> None:
    """Validation of Lightning runs in inference mode, where torch takes no derivatives of its own accord."""
    denoiser = random_denoiser(network, "flow", "v")
    expected = losses_of(rule, denoiser)
    assert expected.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(losses_of(rule, denoiser), expected.detach(), rtol=1e-10, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(losses_of(rule, denoiser), expected.detach(), rtol=1e-10, atol=0)
    assert torch.equal(losses_of(rule, denoiser), expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_losses_are_finite_at_the_ends_of_time(schedule: str, rule: str) -> None:
    denoiser = random_denoiser("dit", schedule, "v", "log_sigma")
    t = SCHEDULES[schedule].snap(times(1e-6, 1e-3, 1 - 1e-9, 1.0, 1.0))
    draw = JumpDraw(t, torch.randn(5, 1, 8, 8, dtype=torch.float64), t * times(0.5, 0.0, 1.0, 0.0, 0.5))
    losses = FlowMapObjective(RULES[rule]).losses(denoiser, denoiser, torch.zeros_like(draw.noise), draw, progress=1.0)
    losses.mean().backward()
    assert losses.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in denoiser.network.parameters())


@pytest.mark.parametrize("rule", RULES)
def test_nothing_of_the_target_has_a_gradient(rule: str) -> None:
    """The gradient is that of the same loss with the target as a constant."""
    denoiser = random_denoiser("dit", "flow", "v")
    jumps, objective = random_jumps(denoiser), FlowMapObjective(RULES[rule])
    at_t = denoiser.schedule.exact(jumps.t)
    x0_hat, target = RULES[rule](jumps, 1.0)
    losses = objective.compared(denoiser, x0_hat, target, at_t, torch.float64)
    constant = objective.compared(denoiser, jumps.x0_hat(), target.detach().clone(), at_t, torch.float64)
    torch.testing.assert_close(gradients(losses, denoiser), gradients(constant, denoiser), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_dropout_is_the_same_in_the_target(rule: str) -> None:
    """A dropout that differed would show in the loss of jumps of almost no length, whose target is nearly x0_hat."""
    torch.manual_seed(0)
    denoiser = Denoiser(Ignoring().double(), SCHEDULES["flow"], X0Prediction())
    x_t = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    jumps = Jumps(denoiser, x_t, T, 0.99999 * T, x_t)
    torch.manual_seed(1)
    expected = jumps.x0_hat()
    torch.manual_seed(1)
    x0_hat, target = RULES[rule](replace(jumps, direction=expected.detach()), 1.0)
    assert torch.equal(x0_hat, expected)
    torch.testing.assert_close(target, expected, rtol=0, atol=1e-3)
    torch.manual_seed(2)
    assert (jumps.x0_hat() - expected).abs().amax((1, 2, 3)).min() > 0.02


@pytest.mark.parametrize("rule", RULES)
def test_mixed_precision_changes_the_losses_little(rule: str) -> None:
    """Under autocast mean_flow computes its derivative in 32 bits, also with a condition in 16 bits."""
    torch.manual_seed(0)
    network = ResUNet(1, 8, (16, 32), attention_levels=(1,), num_heads=2, cond_dim=4, token_dim=4, takes_s=True)
    denoiser = Denoiser(network, SCHEDULES["flow"], VPrediction())
    x_t, D = torch.randn(2, 5, 1, 8, 8)
    cond = {"vector": torch.randn(5, 4), "tokens": torch.randn(5, 3, 4), "mask": torch.ones(5, 3, dtype=torch.bool)}
    jumps = Jumps(denoiser, x_t, BETWEEN.float(), S.float(), D, cond)
    x0_hat, target = RULES[rule](jumps, 1.0)
    half = {key: value.bfloat16() if value.is_floating_point() else value for key, value in cond.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = RULES[rule](replace(jumps, cond=half), 1.0)
        torch.testing.assert_close(found, (x0_hat, target), rtol=0.05, atol=0.05)
        (found[0] - found[1]).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
