"""bench/parts/tutorial.py: the algorithm that part a compares with is that of ours, only slower."""

from __future__ import annotations

import pytest
import torch

from lightdiff.core import Denoiser, DiffusionObjective, DiscreteSchedule, Draw, EpsilonPrediction, linear_betas
from lightdiff.networks import UNet
from parts import peak
from parts.tutorial import TutorialTraining, TutorialUNet


def test_the_tutorials_algorithm_gives_our_loss() -> None:
    torch.manual_seed(0)
    ours, theirs = UNet(image_size=16, widths=(8, 8, 16, 16)), TutorialUNet(widths=(8, 8, 16, 16))
    for weight, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.nn.init.normal_(other, std=0.2)
        weight.data.copy_(other)
    x0, noise = torch.rand(5, 1, 16, 16) * 2 - 1, torch.randn(5, 1, 16, 16)
    timesteps = torch.tensor([0, 1, 500, 998, 999])
    denoiser = Denoiser(ours, DiscreteSchedule(linear_betas(1000)), EpsilonPrediction())
    draw = Draw((timesteps + 1) / 1000, noise)
    expected = DiffusionObjective().losses(denoiser, denoiser, x0, draw).mean()
    found = TutorialTraining(theirs, x0).loss(x0, timesteps, noise)
    assert expected > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_the_tutorials_network_is_the_one_with_12_919_041_parameters() -> None:
    theirs, ours = (peak.operations(build) for build in (TutorialUNet, UNet))
    assert theirs.parameters == ours.parameters == 12_919_041
    assert theirs.training == pytest.approx(ours.training, rel=0.01)
