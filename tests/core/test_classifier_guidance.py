"""Guidance by a classifier: on Gaussian mixtures, where the classifier and the best denoisers are known, it is exact."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lightdiff.core import (
    ClassifierGuidance,
    ClassifierGuided,
    Denoiser,
    FlowPrediction,
    FlowSchedule,
    NoisyClassifier,
    classifier_input,
)
from lightdiff.networks import TimedClassifier
from lightdiff.samplers import DDIM
from mixtures import Mixture
from oracles import SCHEDULES, noise, times

LABEL = "classifier.label"
LABELS = torch.tensor([0, 1, 2, 1])
T = times(0.05, 0.4, 0.7, 0.95)


class Plain(nn.Module):
    """A network without parameters."""

    def forward(self, x: Tensor, time: Tensor, cond: object = None) -> Tensor:
        return x.sin()


def chosen(of_classes: Tensor, labels: Tensor = LABELS) -> Tensor:
    return of_classes[torch.arange(len(labels)), labels]


@pytest.mark.parametrize("stds", [(0.3, 0.3, 0.3), (0.2, 0.5, 0.35)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_at_scale_1_it_is_the_posterior_mean_of_the_class(name: str, stds: tuple[float, float, float]) -> None:
    mixture = Mixture(SCHEDULES[name], stds)
    x_t = SCHEDULES[name].exact(T).mix(noise(), noise(seed=1))
    guided = ClassifierGuidance(mixture, mixture.classifier, 1.0)(x_t, T, {LABEL: LABELS})
    torch.testing.assert_close(guided, chosen(mixture.of_classes(x_t, T)), rtol=0, atol=1e-8)
    assert (guided - mixture(x_t, T)).abs().max() > 0.05


@pytest.mark.parametrize("name", ["flow", "linear_zero_snr"])
def test_where_there_is_nothing_but_noise_it_is_the_mean_of_the_class(name: str) -> None:
    mixture, one = Mixture(SCHEDULES[name], (0.3, 0.3, 0.3)), torch.ones(4, dtype=torch.float64)
    assert SCHEDULES[name].exact(one).alpha.max() == 0
    guided = ClassifierGuidance(mixture, mixture.classifier, 1.0)(noise(), one, {LABEL: LABELS})
    torch.testing.assert_close(guided, mixture.means[LABELS], rtol=0, atol=1e-12)


def test_other_scales_multiply_the_push_and_0_does_not_call_the_classifier() -> None:
    mixture = Mixture(SCHEDULES["cosine"], (0.2, 0.5, 0.35))
    plain, full = mixture(noise(), T), chosen(mixture.of_classes(noise(), T))
    for scale in (-1.0, 0.5, 3.0):
        guided = ClassifierGuidance(mixture, mixture.classifier, scale)(noise(), T, {LABEL: LABELS})
        torch.testing.assert_close(guided, plain + scale * (full - plain), rtol=0, atol=1e-8)

    def never(u: Tensor, flow_time: Tensor) -> Tensor:
        raise AssertionError

    assert torch.equal(ClassifierGuidance(mixture, never, 0.0)(noise(), T), plain)
    assert torch.equal(ClassifierGuidance(mixture, never, 2.0, interval=(0.96, 1.0))(noise(), T), plain)


def test_interval_and_images_without_a_class() -> None:
    mixture = Mixture(SCHEDULES["flow"], (0.3, 0.3, 0.3))
    plain = mixture(noise(), T)
    everywhere = ClassifierGuidance(mixture, mixture.classifier, 2.0)(noise(), T, {LABEL: LABELS})
    within = ClassifierGuidance(mixture, mixture.classifier, 2.0, interval=(0.3, 0.8))(noise(), T, {LABEL: LABELS})
    assert torch.equal(within[[0, 3]], plain[[0, 3]]) and torch.equal(within[[1, 2]], everywhere[[1, 2]])
    some = ClassifierGuidance(mixture, mixture.classifier, 2.0)(noise(), T, {LABEL: torch.tensor([0, -1, 2, -1])})
    assert torch.equal(some[[1, 3]], plain[[1, 3]]) and torch.equal(some[[0, 2]], everywhere[[0, 2]])
    with pytest.raises(ValueError, match=r"cond=\['vector'\]: the entry classifier.label is expected"):
        ClassifierGuidance(mixture, mixture.classifier, 2.0)(noise(), T, {"vector": noise()})


def test_the_input_is_the_same_on_every_schedule_at_one_noise_level() -> None:
    tau = times(0.05, 0.4, 0.7, 0.9)
    inputs = []
    for schedule in SCHEDULES.values():
        at = schedule.exact(schedule.t_from_flow_time(tau))
        inputs.append(classifier_input(at.mix(noise(), noise(seed=1)), at))
    for other in inputs[1:]:
        torch.testing.assert_close(other, inputs[0], rtol=0, atol=1e-9)


def test_a_network_guides_in_inference_mode_and_keeps_no_gradient() -> None:
    torch.manual_seed(0)
    classifier = NoisyClassifier(TimedClassifier(1, [2, 3], 3, widths=(8,)), ["a", "b", "c"], (1, 2, 3))
    denoiser = Denoiser(Plain(), FlowSchedule(), FlowPrediction())
    guided = ClassifierGuidance(denoiser, classifier, 2.0)
    cond = {LABEL: LABELS}
    outside = DDIM().sample(guided, noise().float(), 4, cond)
    with torch.inference_mode():
        inside = DDIM().sample(guided, noise().float(), 4, {LABEL: LABELS.clone()})
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lower = guided(noise().float(), T.float(), cond)
    assert torch.equal(outside, inside) and not outside.requires_grad
    torch.testing.assert_close(lower, guided(noise().float(), T.float(), cond))
    assert all(weight.grad is None and not weight.is_inference() for weight in classifier.module.parameters())
    # each image has its own gradient, whatever the others are
    alone = guided(noise().float()[1:2], T.float()[1:2], {LABEL: LABELS[1:2]})
    torch.testing.assert_close(alone, guided(noise().float(), T.float(), cond)[1:2])


def test_settings() -> None:
    settings = ClassifierGuided(classifier="there")
    assert settings.acts and settings.details.startswith("classifier ") and not settings.scaled(0.0).acts
    # off, but not the same as classifier-free guidance at the scale 0
    assert settings.scaled(0.0).details
    with pytest.raises(ValueError, match="interval="):
        ClassifierGuided(classifier="there", interval=(0.8, 0.2))
    assert math.isclose(settings.scaled(2.5).scale, 2.5)
