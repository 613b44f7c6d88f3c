"""Guidance by a weaker model: the meaning of the scale and the interval, another schedule, the second time, its own condition."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
from torch import Tensor

from lightdiff.conditioning import LabelConditioner
from lightdiff.core import (
    AutoGuidance,
    AutoGuided,
    Condition,
    Denoiser,
    NoisyClassifier,
    WeakDenoiser,
)
from lightdiff.core.guidance import DenoiserFunction, entries_of
from lightdiff.samplers import DDIM
from oracles import SCHEDULES, GaussianDenoiser, gaussian_data, noise, times

T = times(0.1, 0.4, 0.6, 0.9)


class Weaker:
    """The best denoiser with less contrast. It records the second times that it gets."""

    takes_s = False
    value_range = None

    def __init__(self, denoiser: DenoiserFunction, contrast: float = 0.5) -> None:
        self.denoiser, self.schedule, self.contrast = denoiser, denoiser.schedule, contrast  # type: ignore[attr-defined]
        self.calls: list[list[float] | None] = []

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None, s: Tensor | None = None) -> Tensor:
        self.calls.append(None if s is None else s.tolist())
        return self.contrast * self.denoiser(x_t, t)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scale_1_is_the_strong_model_and_0_the_weak_one_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    strong = Weaker(gaussian_data(SCHEDULES[name]), 1.0)
    # another object with the same scales, as two models that were loaded have it
    weak = Weaker(GaussianDenoiser(copy.deepcopy(strong.schedule)))
    x_t, t = noise().to(dtype), T.to(dtype)
    assert torch.equal(AutoGuidance(strong, weak, 1.0)(x_t, t), strong(x_t, t))
    assert weak.calls == []
    before = len(strong.calls)
    assert torch.equal(AutoGuidance(strong, weak, 0.0)(x_t, t), weak(x_t, t))
    assert len(strong.calls) == before


@pytest.mark.parametrize("scale", [-1.0, 0.5, 1.7, 3.0])
def test_a_weak_model_that_equals_the_strong_one_changes_nothing(scale: float) -> None:
    data = gaussian_data(SCHEDULES["cosine"])
    assert torch.equal(AutoGuidance(data, data, scale)(noise(), T), data(noise(), T))
    for dtype in (torch.float32, torch.float64):
        denoiser = GaussianDenoiser(SCHEDULES["cosine"])
        guided = AutoGuidance(denoiser, WeakDenoiser(denoiser), scale)
        assert torch.equal(guided(noise().to(dtype), T.to(dtype)), denoiser(noise().to(dtype), T.to(dtype)))


@pytest.mark.parametrize("scale", [-1.0, 0.5, 2.0, 7.5])
def test_other_scales_are_on_the_line_through_both(scale: float) -> None:
    strong = gaussian_data(SCHEDULES["flow"])
    guided = AutoGuidance(strong, Weaker(strong), scale)(noise(), T)
    torch.testing.assert_close(guided, (0.5 + 0.5 * scale) * strong(noise(), T), rtol=0, atol=1e-12)


def test_interval() -> None:
    strong = gaussian_data(SCHEDULES["flow"])
    weak = Weaker(strong)
    guided = AutoGuidance(strong, weak, 3.0, interval=(0.3, 0.7))(noise(), T)
    everywhere, plain = AutoGuidance(strong, weak, 3.0)(noise(), T), strong(noise(), T)
    assert torch.equal(guided[[0, 3]], plain[[0, 3]]) and torch.equal(guided[[1, 2]], everywhere[[1, 2]])
    # at scale 0 the strong model is called where guidance does not act
    weak_inside = AutoGuidance(strong, weak, 0.0, interval=(0.3, 0.7))(noise(), T)
    assert torch.equal(weak_inside[[0, 3]], plain[[0, 3]])
    torch.testing.assert_close(weak_inside[[1, 2]], plain[[1, 2]] / 2)
    weak.calls.clear()
    AutoGuidance(strong, weak, 3.0, interval=(0.95, 1.0))(noise(), T)
    assert weak.calls == []
    with pytest.raises(ValueError, match="interval="):
        AutoGuidance(strong, weak, 3.0, interval=(0.7, 0.3))


@pytest.mark.parametrize(("theirs", "ours"), list(product(SCHEDULES, SCHEDULES)))
def test_the_weak_model_may_have_another_schedule(theirs: str, ours: str) -> None:
    # noise levels that all schedules have; both models are the best denoiser of the same data
    t = SCHEDULES[ours].t_from_flow_time(times(0.05, 0.4, 0.7, 0.9))
    x_t = SCHEDULES[ours].exact(t).mix(noise(), noise(seed=1))
    strong = gaussian_data(SCHEDULES[ours])
    guided = AutoGuidance(strong, gaussian_data(SCHEDULES[theirs]), 3.0)(x_t, t)
    torch.testing.assert_close(guided, strong(x_t, t), rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_the_second_time_is_passed_on_to_those_that_take_it(scale: float) -> None:
    strong = Weaker(gaussian_data(SCHEDULES["flow"]), 1.0)
    weak = Weaker(gaussian_data(SCHEDULES["cosine"]))
    strong.takes_s = weak.takes_s = True
    guided = AutoGuidance(strong, weak, scale)
    assert guided.takes_s
    s = T / 2
    guided(noise(), T, None, s)
    there = SCHEDULES["cosine"].t_from_flow_time(SCHEDULES["flow"].exact(s).flow_time).tolist()
    assert strong.calls == ([] if scale == 0 else [s.tolist()])
    assert weak.calls == ([] if scale == 1 else [there])
    weak.takes_s = False
    AutoGuidance(strong, weak, 3.0)(noise(), T, None, s)
    assert weak.calls[-1] is None


def conditional(shift: float) -> GaussianDenoiser:
    denoiser = GaussianDenoiser(SCHEDULES["flow"], LabelConditioner(2, cond_dim=1)).double()
    with torch.no_grad():
        denoiser.conditioner.table.weight.copy_(shift * torch.tensor([[1.0], [2.0], [3.0]]))  # type: ignore[union-attr]
    return denoiser


class NoFiles:
    """Guides that are one denoiser, whatever is asked for."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.found = denoiser
        self.asked: list[tuple[str, str, str]] = []

    def denoiser(self, key: str, path: str, weights: str) -> Denoiser:
        self.asked.append((key, path, weights))
        return self.found

    def classifier(self, key: str, path: str) -> NoisyClassifier:
        raise AssertionError


def test_the_weak_model_gets_the_condition_that_its_own_conditioner_makes() -> None:
    strong, files = conditional(0.1), NoFiles(conditional(0.01))
    settings = AutoGuided(3.0, weak="there", weak_weights="raw").loaded(files)
    assert files.asked == [("guidance.weak", "there", "raw")] and settings.loaded(files) is settings
    labels = torch.tensor([0, 1, 1, 0])

    def condition_of(conditioner: object) -> tuple[Condition, Condition]:
        assert isinstance(conditioner, LabelConditioner) and conditioner is not strong.conditioner
        return conditioner(labels), conditioner.null()

    own, own_null = settings.entries(condition_of, labels, noise())
    assert own.keys() == own_null.keys() and "vector" not in own
    cond = {**strong.conditioner(labels), **own}  # type: ignore[misc]
    guided = settings.guided(strong, None)(noise(), T, cond)
    shift = torch.tensor([1.0, 2.0]).double()[labels][:, None, None, None]
    expected = gaussian_data(SCHEDULES["flow"])(noise(), T) + 0.01 * shift + 3 * (0.1 - 0.01) * shift
    torch.testing.assert_close(guided, expected, rtol=0, atol=1e-7)


def test_entries_belong_to_one_model() -> None:
    cond = {"vector": T, "ab.vector": 2 * T, "ab.mask": 3 * T}
    assert {name: value[0].item() for name, value in (entries_of(cond) or {}).items()} == {"vector": T[0].item()}
    assert [*(entries_of(cond, "ab") or {})] == ["vector", "mask"]
    assert entries_of(cond, "cd") is None and entries_of(None) is None


def test_its_details_tell_weak_models_apart() -> None:
    settings = AutoGuided(3.0, weak="there", interval=[0.2, 0.8]).loaded(NoFiles(conditional(0.01)))
    other = AutoGuided(3.0, weak="there").loaded(NoFiles(conditional(0.02)))
    sha256 = settings.models["weak"].sha256
    assert len(sha256) == 64 and settings.details == f"auto weak={sha256[:12]} interval=0.2-0.8"
    assert other.models["weak"].sha256 != sha256 and other.scaled(1.0).details == ""
    assert other.scaled(2.0).models == other.models
    with pytest.raises(ValueError, match=r"scale=nan"):
        AutoGuided(float("nan"), weak="there")


def test_a_sampler_draws_with_it() -> None:
    denoiser = GaussianDenoiser(SCHEDULES["flow"])
    with torch.inference_mode():
        guided = DDIM().sample(AutoGuidance(denoiser, WeakDenoiser(denoiser), 2.0), noise(), 5)
        assert torch.equal(guided, DDIM().sample(denoiser, noise(), 5))
