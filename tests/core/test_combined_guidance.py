"""Several kinds of guidance in turn: the formula, the order, and that a part that is off changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lightdiff.conditioning import LabelConditioner
from lightdiff.core import (
    AutoGuided,
    ClassifierFree,
    ClassifierGuidance,
    ClassifierGuided,
    Combined,
    Condition,
    Guidance,
    NoGuidance,
    NoisyClassifier,
    OwnEntries,
    WeakDenoiser,
)
from lightdiff.networks import TimedClassifier
from oracles import SCHEDULES, GaussianDenoiser, gaussian_data, noise, times

T = times(0.1, 0.4, 0.6, 0.9)
LABELS = torch.tensor([0, 1, 1, 0])


def conditional(shifts: list[float]) -> GaussianDenoiser:
    """The denoiser that shifts x0_hat by a number for each of two labels, and by the last one for no label."""
    denoiser = GaussianDenoiser(SCHEDULES["flow"], LabelConditioner(2, cond_dim=1)).double()
    with torch.no_grad():
        denoiser.conditioner.table.weight.copy_(torch.tensor(shifts)[:, None])  # type: ignore[union-attr]
    return denoiser


STRONG, WEAK = conditional([0.3, -0.2, 0.05]), conditional([0.1, -0.1, 0.02])


def classifier() -> NoisyClassifier:
    torch.manual_seed(0)
    return NoisyClassifier(TimedClassifier(1, [2, 3], 2, widths=(8,)).double(), ["a", "b"], (1, 2, 3))


CLASSIFIER = classifier()
FREE = ClassifierFree(2.0)
AUTO = AutoGuided(3.0, weak="there", weak_denoiser=WeakDenoiser(WEAK))
BY_CLASS = ClassifierGuided(1.5, classifier="there", noisy_classifier=CLASSIFIER)


def guided(guidance: Guidance) -> Tensor:
    """Return x0_hat with a guidance, put together as a model does it."""

    def condition_of(conditioner: object) -> tuple[Condition, Condition]:
        assert isinstance(conditioner, LabelConditioner)
        return conditioner(LABELS), conditioner.null()

    cond, null_cond = condition_of(STRONG.conditioner)
    own, own_null = guidance.entries(condition_of, LABELS, noise())
    denoiser = guidance.guided(OwnEntries(STRONG), {**null_cond, **own_null})
    return denoiser(noise(), T, {**cond, **own})


def shifted(by: Tensor | float) -> Tensor:
    return gaussian_data(SCHEDULES["flow"])(noise(), T) + by


STRONG_SHIFT = torch.tensor([0.3, -0.2]).double()[LABELS][:, None, None, None]
WEAK_SHIFT = torch.tensor([0.1, -0.1]).double()[LABELS][:, None, None, None]


def test_each_part_guides_what_the_parts_before_it_have_guided() -> None:
    free = 0.05 + 2 * (STRONG_SHIFT - 0.05)
    expected = shifted(WEAK_SHIFT + 3 * (free - WEAK_SHIFT))
    torch.testing.assert_close(guided(Combined(parts={"free": FREE, "auto": AUTO})), expected, rtol=0, atol=1e-7)


def test_in_the_other_order_the_weak_model_guides_both_estimates() -> None:
    null = 0.02 + 3 * (0.05 - 0.02)
    auto = WEAK_SHIFT + 3 * (STRONG_SHIFT - WEAK_SHIFT)
    expected = shifted(null + 2 * (auto - null))
    torch.testing.assert_close(guided(Combined(parts={"auto": AUTO, "free": FREE})), expected, rtol=0, atol=1e-7)


def test_a_classifier_does_not_push_the_estimate_without_a_class() -> None:
    by_class = ClassifierGuidance(OwnEntries(STRONG), CLASSIFIER, 1.5)
    cond = {**STRONG.conditioner(LABELS), "classifier.label": LABELS}  # type: ignore[misc]
    pushed, null = by_class(noise(), T, cond), shifted(0.05)
    found = guided(Combined(parts={"classifier": BY_CLASS, "free": FREE}))
    torch.testing.assert_close(found, null + 2 * (pushed - null), rtol=0, atol=1e-7)
    # after it, the push is added to what classifier-free guidance gives
    found = guided(Combined(parts={"free": FREE, "classifier": BY_CLASS}))
    expected = guided(FREE) + (pushed - shifted(STRONG_SHIFT))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_all_three_at_once() -> None:
    found = guided(Combined(parts={"free": FREE, "auto": AUTO, "classifier": BY_CLASS}))
    two = guided(Combined(parts={"free": FREE, "auto": AUTO}))
    torch.testing.assert_close(found - two, guided(BY_CLASS) - shifted(STRONG_SHIFT), rtol=0, atol=1e-7)


def test_parts_that_are_off_change_nothing() -> None:
    off = {"free": FREE.scaled(1.0), "none": NoGuidance(), "classifier": BY_CLASS.scaled(0.0)}
    assert torch.equal(guided(Combined(parts={**off, "auto": AUTO})), guided(AUTO))
    nothing = Combined(parts={**off, "auto": AUTO.scaled(1.0)})
    assert not nothing.acts and nothing.details == "" and torch.equal(guided(nothing), shifted(STRONG_SHIFT))


def test_details_name_each_part_that_acts() -> None:
    sha256 = AUTO.models["weak"].sha256[:12]
    both = Combined(parts={"classifier_free": replace(FREE, rescale=0.7), "auto": AUTO})
    assert both.details == f"classifier_free=2 rescale=0.7 auto=3 weak={sha256}"
    # a name that does not tell the kind is followed by it, and the order counts
    assert Combined(parts={"auto": AUTO, "first": BY_CLASS}).details.startswith(
        f"auto=3 weak={sha256} first=1.5 classifier "
    )
    keys = Combined(parts={"a": both, "b": BY_CLASS}).parts_by_key()
    assert [*keys] == ["guidance.parts.a.parts.classifier_free", "guidance.parts.a.parts.auto", "guidance.parts.b"]
    assert Combined(parts={"a": FREE, "b": BY_CLASS}).class_names == ("a", "b")


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"guidance_scale=2.0: guidance=combined has no scale of its own; choices: guidance.par"
    ):
        Combined(parts={"free": FREE}).scaled(2.0)
    with pytest.raises(ValueError, match="parts={}: at least one"):
        Combined(parts={})
