"""Classifier-free guidance: the meaning of the scale, the interval, rescaling, and the number of forward passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightdiff.core import ClassifierFree, ClassifierFreeGuidance, Guidance, NoGuidance
from oracles import SCHEDULES


class Linear:
    """A denoiser whose x0_hat is linear in x_t with coefficients from the condition. It records the batch size of each call."""

    schedule = SCHEDULES["linear"]
    value_range = (0.0, 1.0)

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, x_t: Tensor, t: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        self.calls.append(len(x_t))
        assert cond is not None
        return x_t * (1 + cond["vector"][:, :1, None, None]) + cond["vector"][:, 1:, None, None]


X = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
T = torch.tensor([0.1, 0.4, 0.6, 0.9])
COND = {"vector": torch.randn(4, 2, generator=torch.Generator().manual_seed(1))}
NULL = {"vector": torch.tensor([[0.5, -0.25]])}
NULLS = {"vector": NULL["vector"].expand(4, -1)}


def test_scale_1_is_the_conditional_model_and_0_the_unconditional_one() -> None:
    denoiser = Linear()
    assert torch.equal(ClassifierFreeGuidance(denoiser, 1.0, NULL)(X, T, COND), denoiser(X, T, COND))
    assert torch.equal(ClassifierFreeGuidance(denoiser, 0.0, NULL)(X, T, COND), denoiser(X, T, NULLS))
    # neither computes the half that it does not use
    assert denoiser.calls == [4, 4, 4, 4]


@pytest.mark.parametrize("scale", [-1.0, 0.5, 2.0, 7.5])
def test_other_scales_are_on_the_line_through_both_in_one_pass(scale: float) -> None:
    denoiser = Linear()
    guided = ClassifierFreeGuidance(denoiser, scale, NULL)(X, T, COND)
    assert denoiser.calls == [8]
    expected = (1 - scale) * denoiser(X, T, NULLS) + scale * denoiser(X, T, COND)
    torch.testing.assert_close(guided, expected)


def test_interval() -> None:
    denoiser = Linear()
    guided = ClassifierFreeGuidance(denoiser, 3.0, NULL, interval=(0.3, 0.7))(X, T, COND)
    everywhere = ClassifierFreeGuidance(denoiser, 3.0, NULL)(X, T, COND)
    plain = denoiser(X, T, COND)
    assert torch.equal(guided[[0, 3]], plain[[0, 3]])
    torch.testing.assert_close(guided[[1, 2]], everywhere[[1, 2]])


def test_rescale_restores_the_standard_deviation_of_the_conditional_guess() -> None:
    denoiser = Linear()
    plain, guided = denoiser(X, T, COND), ClassifierFreeGuidance(denoiser, 4.0, NULL)(X, T, COND)
    full = ClassifierFreeGuidance(denoiser, 4.0, NULL, rescale=1.0)(X, T, COND)
    half = ClassifierFreeGuidance(denoiser, 4.0, NULL, rescale=0.5)(X, T, COND)
    torch.testing.assert_close(full.flatten(1).std(1), plain.flatten(1).std(1))
    torch.testing.assert_close(half, (full + guided) / 2)


def test_it_is_called_and_looks_like_a_denoiser() -> None:
    guided = ClassifierFreeGuidance(Linear(), 2.0, NULL)
    assert guided.schedule is Linear.schedule
    assert guided.value_range == (0.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rescale": 1.5}, r"rescale=1\.5"),
        ({"interval": (0.7, 0.3)}, r"interval=\[0\.7, 0\.3\]"),
        ({"interval": (0.3,)}, "interval="),
    ],
)
def test_refusals(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifierFreeGuidance(Linear(), 2.0, NULL, **settings)
    with pytest.raises(ValueError, match=r"cond=\[\]: the keys of null_cond"):
        ClassifierFreeGuidance(Linear(), 2.0, NULL)(X, T, None)


def test_settings_make_the_denoiser() -> None:
    settings = ClassifierFree(1.0, interval=(0.3, 0.7), rescale=0.5).scaled(3.0)
    expected = ClassifierFreeGuidance(Linear(), 3.0, NULL, interval=(0.3, 0.7), rescale=0.5)(X, T, COND)
    assert torch.equal(settings.guided(Linear(), NULL)(X, T, COND), expected)
    denoiser = Linear()
    assert NoGuidance().scaled(1.0).guided(denoiser, NULL) is denoiser


@pytest.mark.parametrize(
    ("guidance", "words"),
    [
        (NoGuidance(), ""),
        (ClassifierFree(2.0), ""),
        (ClassifierFree(2.0, interval=[0.2, 0.8], rescale=0.7), "interval=0.2-0.8 rescale=0.7"),
        # off, so that nothing tells its images from those of the others
        (ClassifierFree(1.0, interval=[0.2, 0.8]), ""),
    ],
)
def test_details_are_what_differs_from_plain_classifier_free_guidance(guidance: Guidance, words: str) -> None:
    assert guidance.details == words


def test_a_new_kind_is_one_class() -> None:
    class Halved(Guidance):
        def guided(self, denoiser, null_cond):
            return lambda x_t, t, cond=None: denoiser(x_t, t, cond) / 2

    assert Halved(3.0).details == "Halved"
    assert torch.equal(Halved(3.0).guided(Linear(), None)(X, T, COND), Linear()(X, T, COND) / 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoGuidance().scaled(2.0), "guidance_scale=2.0: guidance=none has no scale"),
        (lambda: ClassifierFree(float("nan")), "scale=nan: a finite number is expected"),
        (lambda: ClassifierFree(interval=(0.8, 0.2)), "interval=.*two times, the lower one first"),
        (lambda: ClassifierFree(rescale=-1), "rescale=-1: a number in"),
    ],
)
def test_impossible_settings_are_refused_when_they_are_made(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
